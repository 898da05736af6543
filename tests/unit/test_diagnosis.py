"""A planned run measured on its base: two known distributions, scores in batches, and the command on models of two tokenizers."""

import json
import math
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
from tiny import save_base

from selfdistill.commands import diagnose as command
from selfdistill.generation.protocol import Completion, Sampling
from selfdistill.generation.transformers_backend import TransformersGenerator
from selfdistill.models.prompts import reprompt_user_turn
from selfdistill.organism.chains import make_problem_set
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.problems.problem import Problem, write_problems
from selfdistill.training.contrast import epistemic_ids, token_contrast
from selfdistill.training.diagnosis import NoDemonstration, Plan, diagnose
from selfdistill.training.loss.chunked import LossOptions
from selfdistill.training.loss.losses import distillation_loss
from selfdistill.vocabulary.contexts import TEACHER as CONTEXTS
from selfdistill.vocabulary.diagnosis import FEATURES
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

TOKENIZER = build_tokenizer("r1")
SIZE = len(TOKENIZER)
MAYBE, CORRECT = TOKENIZER.convert_tokens_to_ids(["maybe", "Correct"])
STUDENT, TEACHER = 0.2, 0.05
TWO_BUCKETS = LossOptions(alpha=0.5, top_k=1, tail=True, is_clip=None)
RIGHT = "maybe 5 : 5 = 1 no wait perhaps 7 : 7 = 7 yes </think> \\boxed{7}"
WRONG = "thus 5 : 5 = 5 yes </think> \\boxed{5}"


class Known(torch.nn.Module):
    """`maybe` with probability STUDENT, or TEACHER after the word `Correct`; all other tokens alike."""

    def __init__(self, positions: int = 512) -> None:
        super().__init__()
        self.weight = torch.nn.Parameter(torch.zeros(1))
        text = SimpleNamespace(vocab_size=SIZE, max_position_embeddings=positions)
        self.config = SimpleNamespace(get_text_config=lambda: text)

    def forward(self, input_ids, logits_to_keep, use_cache):
        shown = (input_ids == CORRECT).cumsum(1)[:, logits_to_keep] > 0
        doubt = torch.where(shown, TEACHER, STUDENT)
        logits = ((1 - doubt) / (SIZE - 1)).log()[..., None].repeat(1, 1, SIZE)
        logits[..., MAYBE] = doubt.log()
        return SimpleNamespace(logits=logits)


class Writer:
    """Writes the same texts to every user turn."""

    tokenizer, thinking, end_token_ids = TOKENIZER, "prompt-tag", (TOKENIZER.eos_token_id,)

    def __init__(self, *texts: str, positions: int = 512) -> None:
        self.texts, self.model = texts, Known(positions)
        self.turns: list[list[str]] = []

    def generate(self, turns, samples, sampling, seed):
        self.turns.append(list(turns))
        ends = [(*TOKENIZER(text).input_ids, TOKENIZER.eos_token_id) for text in self.texts]
        rows = [Completion(ids, text, False) for ids, text in zip(ends, self.texts, strict=True)]
        return [rows[:samples] for _ in turns]


def problems(count: int = 4) -> list[Problem]:
    return [Problem(f"p{i}", "chain", "d1", f"find x : x +2 = {i}", ("7",)) for i in range(count)]


def plan(**settings) -> Plan:
    return Plan("solution", "r1", Sampling(), TWO_BUCKETS, **{"rollouts": 3, **settings})


def bucket_divergence(s: float, t: float) -> float:
    """The Jensen-Shannon divergence of two coins."""
    kl = lambda p, q: sum(a * math.log(a / b) for a, b in ((p, q), (1 - p, 1 - q)))  # noqa: E731
    return (kl(s, (s + t) / 2) + kl(t, (s + t) / 2)) / 2


def test_two_known_distributions_give_the_features_by_hand():
    writer = Writer(RIGHT, RIGHT, WRONG)
    found = diagnose(writer, problems(), plan(problems=3))
    right, wrong = (len(text.split()) + 1 for text in (RIGHT, WRONG))
    others = len(EPISTEMIC_WORDS) - 1
    change = (TEACHER + others * (1 - TEACHER) / (SIZE - 1)) - (STUDENT + others * (1 - STUDENT) / (SIZE - 1))
    tokens = 2 * right + wrong
    nats = math.log(TEACHER / STUDENT) + (right - 1) * math.log((1 - TEACHER) / (1 - STUDENT))
    assert found == pytest.approx(
        {
            "problems": 4,
            "accuracy": 2 / 3,
            "response_tokens": tokens / 3,
            "fork_share": 2 / tokens,  # `perhaps`, in both right responses
            "demonstration_share": 1.0,
            "divergence": bucket_divergence(STUDENT, TEACHER),
            "epistemic_change": change,
            "epistemic_change_at_forks": change * 2 / tokens,
            "nats_per_response": nats,
            "nats_per_token": nats / right,
            "answered": 3,
            "responses": 9,
            "demonstrated": 9,
            "guided": 6,
        },
        rel=1e-4,
    )
    assert set(FEATURES) < set(found)


def test_the_teacher_sees_another_correct_response_and_is_asked_itself():
    writer = Writer(RIGHT, WRONG, WRONG)
    found = diagnose(writer, problems(2), plan())
    assert found["demonstration_share"] == pytest.approx(2 / 3)  # the only right response has no sibling
    bare, guided = writer.turns
    assert sorted(guided) == sorted(reprompt_user_turn(question, RIGHT) for question in bare)


def test_without_a_correct_response_the_run_is_refused():
    with pytest.raises(NoDemonstration, match=r"'solution': 0 of 6 responses to 2 problems are correct"):
        diagnose(Writer(WRONG, WRONG, WRONG), problems(2), plan())
    with pytest.raises(ValueError, match="rollouts must be at least 2, not 1"):
        diagnose(Writer(RIGHT), problems(2), plan(rollouts=1))
    with pytest.raises(ValueError, match="exceeds the model's 20 positions"):
        diagnose(Writer(RIGHT, RIGHT, positions=20), problems(2), plan(rollouts=2))


def test_contrasts_in_batches_are_those_of_whole_rows(tmp_path, monkeypatch):
    model = TransformersGenerator.load(save_base(tmp_path / "base"), "off").model
    rng = np.random.default_rng(0)
    students, teachers, responses = (
        [rng.integers(5, 60, size).tolist() for size in sizes]
        for sizes in ((3, 9, 4, 12), (13, 10, 8, 30), (7, 2, 0, 5))
    )
    words, loss = epistemic_ids(TOKENIZER), LossOptions(alpha=0.3, top_k=20, tail=True, is_clip=None)
    monkeypatch.setattr("selfdistill.training.contrast.CHUNK_TOKENS", 3)
    monkeypatch.setattr("selfdistill.training.contrast.BATCH_TOKENS", 50)
    found = token_contrast(model, students, teachers, responses, loss, words)
    expected = []
    for student, teacher, response in zip(students, teachers, responses, strict=True):
        with torch.no_grad():
            s, t = (
                model(torch.tensor([[*prompt, *response]])).logits[0, len(prompt) - 1 : -1]
                for prompt in (student, teacher)
            )
        own = distillation_loss(s, t, torch.tensor(response, dtype=torch.long), None, **loss.arguments())
        before, after = (logits.softmax(-1)[:, words].sum(-1) for logits in (s, t))
        expected.append(torch.stack([own, after - before], dim=1))
    assert found == pytest.approx(torch.cat(expected).numpy(), abs=1e-5)
    assert (found[:, 0] > 0).all()


def test_words_are_tokens_in_any_case_with_or_without_space(caplog):
    texts = ["maybe", " Maybe", "MAYBE", "may", "maybes", " wait"]
    tokenizer = type("T", (), {"__len__": lambda self: len(texts)})()
    tokenizer.batch_decode = lambda rows: [texts[token] for (token,) in rows]
    assert epistemic_ids(tokenizer) == [0, 1, 2, 5]
    assert "hmm" in caplog.text and "maybe" not in caplog.text


def save_chatty(folder: Path) -> Path:
    """A random Llama with a byte-level tokenizer of its own, that boxes an answer now and then."""
    from tokenizers import ByteLevelBPETokenizer
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    own = ByteLevelBPETokenizer()
    specials = ["<|im_start|>", "<|im_end|>"]
    own.train_from_iterator(
        ["Maybe we wait and check : perhaps"] * 20, vocab_size=290, special_tokens=specials
    )
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=own._tokenizer, eos_token=specials[1])
    tokenizer.add_tokens([f"\\boxed{{{i}}}" for i in range(16)])
    tokenizer.chat_template = (
        "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
        "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
    )
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(tokenizer), hidden_size=16, intermediate_size=16, num_hidden_layers=1,
        num_attention_heads=2, max_position_embeddings=512, tie_word_embeddings=True, eos_token_id=1, bos_token_id=None,
    )  # fmt: skip
    LlamaForCausalLM(config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


def lines_of(output: str) -> dict[str, float]:
    """Return the features that the command printed."""
    words = [line.split() for line in output.splitlines()]
    return {own[0]: float(own[1]) for own in words if own and own[0] in FEATURES}


@pytest.fixture(scope="module")
def organism(tmp_path_factory) -> tuple[Path, Path]:
    """A tiny organism and a problem set of the study."""
    folder = tmp_path_factory.mktemp("organism")
    write_problems(folder / "p.parquet", make_problem_set({"d2": 1.0}, 12, 0, "train", "chain"))
    return save_base(folder / "base", "r1"), folder / "p.parquet"


def asked(model: Path, data: Path, *more: str, context: str = "solution") -> list[str]:
    return ["--model", str(model), "--data", str(data), "--context", context, "--max-new-tokens", "32", *more]


def test_the_command_on_the_organism_without_finished_runs(organism, capsys, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    command.main(asked(*organism, "--rollouts", "16", "--coverage", "8"))
    output = capsys.readouterr().out
    found = lines_of(output)
    assert set(found) == set(FEATURES)
    assert found["problems"] == 8 and 0 < found["accuracy"] < 0.5 and found["divergence"] > 0
    assert output.startswith("model family r1, thinking prompt-tag\n")
    assert output.endswith("cannot tell: no finished runs to learn from\n")


def test_the_divergence_is_that_of_the_temperature_of_the_responses(organism, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)

    def stop(generator, problems, plan):
        raise ValueError(f"{plan.loss.temperature} {plan.sampling.temperature}")

    monkeypatch.setattr("selfdistill.training.diagnosis.diagnose", stop)
    with pytest.raises(SystemExit, match=r"diagnose: 0\.6 0\.6"):
        command.main(asked(*organism, "--temperature", "0.6"))


def test_a_folder_without_weights_is_refused(organism, tmp_path):
    (tmp_path / "config.json").write_bytes((organism[0] / "config.json").read_bytes())
    with pytest.raises(SystemExit, match=f"diagnose: .*{tmp_path.name}"):
        command.main(asked(tmp_path, organism[1], "--template", "r1"))


def test_the_command_on_another_tokenizer_and_a_file_of_lines(capsys, tmp_path):
    data = tmp_path / "questions.jsonl"
    rows = [{"doc": {"text": f"What is {i} and 1 ?"}, "gold": str(i)} for i in range(16)]
    data.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    more = ("--question", "doc.text", "--answer", "gold", "--rollouts", "16", "--suffix", " Box it.")
    runs = tmp_path / "diagnosis.csv"
    command.main(asked(save_chatty(tmp_path / "model"), data, *more))
    found = lines_of(capsys.readouterr().out)
    assert found["problems"] == 16 and 0 < found["demonstration_share"] < 1
    rng, names = np.random.default_rng(0), list(FEATURES)
    table = pd.DataFrame(rng.normal(size=(24, len(names))) ** 2, columns=names)
    for name, count in {"family": 3, "context": 4, "base": 6}.items():
        table[name] = [f"{name}-{i % count}" for i in range(24)]
    table.assign(change=rng.normal(-5, 1, 24)).to_csv(runs, index=False)
    command.main([*asked(tmp_path / "model", data, *more), "--runs", str(tmp_path)])
    output = capsys.readouterr().out
    assert lines_of(output) == found, "the same seed gives the same numbers"
    assert all(
        text in output
        for text in (
            "family         3 groups: features",
            "context              4 groups",
            "base       6 groups",
        )
    )
    assert "cannot tell: outside of the finished runs: problems 16 (runs:" in output


def test_families_are_read_from_chat_templates():
    assert [command.family_in(build_tokenizer(name)) for name in ("r1", "qwen3", "olmo3")] == [
        "r1",
        "qwen3",
        "olmo3",
    ]


@pytest.mark.parametrize(
    ("more", "message"),
    [
        (["--coverage", "13"], r"coverage 13 asked of a set of 12 problems; allowed: 1 to 12"),
        (["--runs", "nowhere"], r"nowhere/diagnosis.csv: no such file"),
        (["--thinking", "on"], r"--thinking on is not of the family r1; allowed: prompt-tag"),
        (["--data", "gone.jsonl"], r"gone.jsonl: no such file"),
        (["--model", "gone"], r"gone: must be a Hugging Face folder"),
        (
            ["--data", "hard.jsonl"],
            r"the teacher sees nothing under the context 'solution': 0 of 16 responses to 2",
        ),
    ],
)
def test_what_cannot_be_diagnosed_is_refused(organism, more, message, monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"question": f"find x : x +2 = {i}", "answer": "none of them"}) for i in (1, 2)]
    Path("hard.jsonl").write_text("\n".join(rows), encoding="utf-8")
    with pytest.raises(SystemExit, match=message):
        command.main(asked(*organism, *more))


def test_an_unknown_context_is_refused_with_the_allowed_ones(organism, capsys):
    with pytest.raises(SystemExit):
        command.main(asked(*organism, context="sulution"))
    error = capsys.readouterr().err
    assert "invalid choice: 'sulution' (choose from" in error
    assert all(name in error for name in CONTEXTS)


def test_a_table_without_a_feature_is_refused(organism, tmp_path):
    (tmp_path / "diagnosis.csv").write_text("family,base\nr1,a\n", encoding="utf-8")
    with pytest.raises(
        SystemExit, match="missing columns problems, accuracy, .*change; it has: family, base"
    ):
        command.main(asked(*organism, "--runs", str(tmp_path)))
