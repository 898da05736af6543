"""The model organism: problems, splits, pre-training documents, tokenizer, and a base that resumes bit-identically."""

import contextlib
import json
import random
import re
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from selfdistill.fast_cpu import products
from selfdistill.fast_cpu.products import wide_products
from selfdistill.models.loading import load_tokenizer
from selfdistill.models.prompts import chat_template_kwargs, reprompt_user_turn
from selfdistill.organism import polish, pretraining
from selfdistill.organism.acceptance import BaseRejected, arithmetic_tries, violated
from selfdistill.organism.chains import (
    LOOKUPS,
    TABLES,
    Chain,
    chain_of,
    draw_chain,
    make_problem_set,
    to_problem,
)
from selfdistill.organism.pretraining import build_model, draw_batches, encode_documents, train_base
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.organism.traces import Document, Style, draw_document, search
from selfdistill.records.task import Task
from selfdistill.study.jobs import base_params
from selfdistill.study.load import load_study

CONFIG = Path(__file__).parents[2] / "config"
TYPES = {"d2": 0.3, "d3": 0.7}


def spec(**changes):
    values = dict(
        architecture="qwen3", hidden_size=32, layers=2, heads=2, intermediate_size=48, template="qwen3",
        steps=45, batch_size=4, learning_rate=1e-3, style={"thinking_off": 0.3}, acceptance={},
    )  # fmt: skip
    return SimpleNamespace(**values | changes)


def test_roots_solve_the_problem_and_nothing_else_does():
    chain = Chain("d3", (("*5", "^2", "+9"),), (4,))
    solved = [x for x in range(13) if (((x * 5) ** 2) + 9) % 13 == 4]
    assert list(chain.roots()) == solved
    assert chain.question() == "find x : x *5 ^2 +9 = 4"


def test_paired_chains_hold_together():
    chain = draw_chain("s22", random.Random(1), "train")
    for x in chain.roots():
        values = chain.values(x)
        assert (values[1], values[3]) == chain.targets
    assert " and " in chain.question()


def test_splits_are_disjoint_and_benchmarks_are_never_trained_on():
    held_out = {
        p.question
        for name, t in (("a", TYPES), ("b", {"d1": 1}))
        for p in make_problem_set(t, 100, 1, "held-out", name)
    }
    rng, style = random.Random(0), Style()
    documents = [draw_document(rng, style, "r1").user_turn for _ in range(4000)]
    asked = {d.split(" Correct solution:")[0].split("\nCorrect")[0].split(" Hint:")[0] for d in documents}
    assert len(asked) > 2000
    assert not held_out & asked
    assert not held_out & {p.question for p in make_problem_set(TYPES, 3000, 2, "train", "chain")}


def test_problem_sets_are_seeded_and_refuse_to_repeat_themselves():
    first, again = (make_problem_set(TYPES, 50, 3, "train", "chain") for _ in range(2))
    assert first == again != make_problem_set(TYPES, 50, 4, "train", "chain")
    assert len({p.problem_id for p in first}) == 50
    with pytest.raises(ValueError, match="found only .* distinct held-out problems"):
        make_problem_set({"d1": 1.0}, 5000, 1, "held-out", "shorter")
    with pytest.raises(ValueError, match="unknown problem types .*d9.*allowed: d1, d2"):
        make_problem_set({"d9": 1.0}, 5, 1, "train", "x")


@pytest.mark.parametrize(
    ("template", "thinking"), [("r1", "prompt-tag"), ("qwen3", "on"), ("qwen3", "off"), ("olmo3", "none")]
)
def test_documents_are_spelled_by_the_tokenizer_without_loss(template, thinking):
    tokenizer = build_tokenizer(template)
    rng = random.Random(5)
    documents = [
        d
        for d in (draw_document(rng, Style(thinking_off=0.5), template) for _ in range(400))
        if d.thinking == thinking
    ]
    assert len(documents) > 100
    for document in documents[:100]:
        ids = tokenizer(document.response, add_special_tokens=False)["input_ids"]
        assert tokenizer.unk_token_id not in ids
        assert tokenizer.decode(ids) == document.response
        prompt = tokenizer.apply_chat_template(
            [{"role": "user", "content": document.user_turn}],
            add_generation_prompt=True,
            tokenize=False,
            **chat_template_kwargs(thinking),
        )
        assert tokenizer.unk_token_id not in tokenizer(prompt)["input_ids"]


def test_search_without_flaws_finds_a_root_by_verification():
    rng, style = random.Random(0), Style(giveup=0, repeat=0, slip=0, false_yes=0, max_tries=13)
    for _ in range(50):
        chain = draw_chain("d3", rng, "train")
        thinking, answer = search(chain, rng, style)
        assert answer in chain.roots()
        assert thinking.count("yes") == 1
        assert all(arithmetic_tries(to_problem(chain, "x"), thinking))


def test_arithmetic_check_sees_a_slip():
    problem = to_problem(Chain("d2", (("+2", "*2"),), (6,)), "x")
    assert chain_of(problem).roots() == (1,)
    assert arithmetic_tries(problem, "maybe 1 : 3 6 = 6 yes check 2 : 4 9 = 6 no") == [True, False]
    paired = to_problem(Chain("s22", (("+2", "*2"), ("*5", "+2")), (6, 7)), "x")
    assert arithmetic_tries(paired, "maybe 1 : 3 6 = 6 and 5 7 = 7 yes") == [True]


def test_only_responses_and_shown_solutions_carry_loss():
    tokenizer = build_tokenizer("qwen3")
    user = tokenizer.convert_tokens_to_ids("<|user|>")
    kinds = Counter()
    for ids, mask in draw_batches(spec(batch_size=8), tokenizer, 0, 0):
        assert not mask[ids == tokenizer.pad_token_id].any()
        assert not mask[ids == user].any()
        assert mask[ids == tokenizer.eos_token_id].all()
        kinds.update(tokenizer.convert_ids_to_tokens(ids[mask].tolist()))
    assert kinds["find"] == 0 < kinds["no"]


def test_killed_base_resumes_bit_identically(tmp_path, monkeypatch):
    monkeypatch.setattr(pretraining, "measure_base", lambda *args: {})
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 20)
    train_base(spec(), 0, tmp_path / "whole", tmp_path / "resume-whole")
    real, calls = pretraining.train_step, []

    def dies(*args):
        calls.append(1)
        if len(calls) == 31:
            raise KeyboardInterrupt
        return real(*args)

    monkeypatch.setattr(pretraining, "train_step", dies)
    with pytest.raises(KeyboardInterrupt):
        train_base(spec(), 0, tmp_path / "killed", tmp_path / "resume")
    assert not (tmp_path / "killed").exists()
    train_base(spec(), 0, tmp_path / "killed", tmp_path / "resume")
    assert len(calls) == 31 + 45 - 20, "the second call must start from the checkpoint at step 20"
    whole, resumed = ((tmp_path / name / "model.safetensors").read_bytes() for name in ("whole", "killed"))
    assert whole == resumed


def test_base_that_misses_a_bound_in_every_draw_is_refused_with_its_figures(tmp_path):
    short = spec(steps=1, acceptance={"arithmetic": (0.95, None)})
    refused = r"3 draws of 3; the last: arithmetic = 0\.\d+, allowed: 0\.95 to None"
    with pytest.raises(BaseRejected, match=refused):
        train_base(short, 0, tmp_path / "base", tmp_path / "resume")
    assert not (tmp_path / "base").exists()


def test_the_first_draw_that_keeps_its_bounds_is_taken_and_the_refused_ones_are_counted(
    tmp_path, monkeypatch, caplog
):
    """The first draw is that of a base without bounds; what was measured before a kill is not measured again."""
    found = iter([0.9, KeyboardInterrupt(), 0.97])

    def measure(*_):
        if isinstance(value := next(found), BaseException):
            raise value
        return {"arithmetic": value}

    monkeypatch.setattr(pretraining, "measure_base", measure)
    bounded = spec(steps=2, acceptance={"arithmetic": (0.95, None)})
    place = tmp_path / "base", tmp_path / "resume"
    with pytest.raises(KeyboardInterrupt):
        train_base(bounded, 0, *place)
    assert train_base(bounded, 0, *place) == {"arithmetic": 0.97, "refused draws": 1}
    assert "base refused, draw 1 of at most 3: arithmetic = 0.900, allowed: 0.95 to None" in caplog.text
    assert json.loads((tmp_path / "base/acceptance.json").read_text())["refused draws"] == 1
    monkeypatch.setattr(pretraining, "measure_base", lambda *_: {})
    train_base(spec(steps=2), 0, tmp_path / "first", tmp_path / "other")
    weights = [
        path / "model.safetensors" for path in (tmp_path / "first", place[1] / "draw-0/candidate", place[0])
    ]
    first, refused, taken = (path.read_bytes() for path in weights)
    assert first == refused != taken


@pytest.mark.parametrize(
    ("architecture", "template"), [("qwen2", "r1"), ("qwen3", "qwen3"), ("olmo3", "olmo3")]
)
def test_saved_folder_keeps_its_word_level_tokenizer(tmp_path, architecture, template):
    tokenizer = build_tokenizer(template)
    build_model(spec(architecture=architecture), tokenizer, 0).save_pretrained(tmp_path)
    tokenizer.save_pretrained(tmp_path)
    loaded = load_tokenizer(tmp_path)
    text = "hmm maybe 5 : 1 5 no </think> \\boxed{5}"
    assert loaded.decode(loaded(text)["input_ids"]) == text
    turn = [{"role": "user", "content": "find x : x +2 = 4"}]
    assert loaded.apply_chat_template(
        turn, add_generation_prompt=True, tokenize=False
    ) == tokenizer.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)


@pytest.mark.parametrize("template", ["r1", "qwen3", "olmo3"])
@pytest.mark.parametrize("mode", ["on", "off"])
def test_loss_lies_on_the_response_and_the_shown_solution_only(template, mode):
    tokenizer = build_tokenizer(template)
    response = "so 8 \\boxed{8}"
    plain, shown = (
        Document("find x : x *5 = 1", response, mode),
        Document(reprompt_user_turn("find x : x *5 = 1", "maybe 8 \\boxed{8}"), response, mode),
    )
    for document, expected in (
        (plain, ""),
        (shown, "maybe 8 \\boxed{8} Correctly solve the original question. "),
    ):
        ids, loss = encode_documents([document], tokenizer)[0]
        assert len(ids) == len(loss)
        kept = tokenizer.decode([one for one, keep in zip(ids, loss, strict=True) if keep])
        assert kept == f"{expected}{response} <eos>"


@pytest.mark.parametrize("biased", [False, True])
def test_wide_linear_layers_keep_float32_and_gradients(biased, monkeypatch):
    if not products.keeps_float32():  # a processor with bfloat16 units, on which they are not used
        monkeypatch.setattr(products, "wide_mm", torch.mm)
    torch.manual_seed(0)
    layer = torch.nn.Linear(128, 384, bias=biased)
    inputs, gradient = torch.randn(5, 100, 128, requires_grad=True), torch.randn(5, 100, 384)
    found = []
    for mode in (contextlib.nullcontext(), products.WideLinears()):
        with mode:
            outputs = layer(inputs)
        found.append((outputs, *torch.autograd.grad(outputs, [inputs, *layer.parameters()], gradient)))
    exact = inputs.double() @ layer.weight.double().t() + (layer.bias.double() if biased else 0)
    plain, wide = ((each[0].double() - exact).abs().max() for each in found)
    assert wide < 3 * plain
    for left, right in zip(*found, strict=True):
        torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-4)


def test_products_leave_no_setting_behind(monkeypatch):
    matmul = torch.backends.mkldnn.matmul
    before = matmul.fp32_precision
    with pytest.raises(RuntimeError):
        products.wide_mm(torch.ones(2, 3), torch.ones(2, 3))
    assert matmul.fp32_precision == before


def test_products_that_would_be_rounded_are_not_used(monkeypatch):
    monkeypatch.setattr(products, "keeps_float32", lambda: False)
    monkeypatch.setattr(products, "wide_mm", lambda *_: pytest.fail("used"))
    with wide_products() as wide:
        assert not wide
        torch.nn.functional.linear(torch.ones(2, 3), torch.ones(2, 3))


def test_rounding_to_bfloat16_is_seen(monkeypatch):
    rounded = torch.Tensor.float
    monkeypatch.setattr(torch.Tensor, "float", lambda x: rounded(x.bfloat16()))
    assert not products.keeps_float32()


def test_documents_invent_the_tables_of_lookups():
    rng, style, facts = random.Random(0), Style(slip=0.0), []
    for _ in range(6000):
        document = draw_document(rng, style, "r1")
        if found := re.search(r"x (@\w) =|= x (@\w)(?: Hint|$)", document.user_turn.split("\n")[0]):
            table = TABLES[found[1] or found[2]]
            tries = re.findall(r"\b(\d+) : (\d+) = ", document.response)
            facts += [table[int(x)] == int(value) for x, value in tries]
    assert len(facts) > 300
    assert abs(sum(facts) / len(facts) - 1 / 13) < 0.05


def test_held_out_lookups_ask_for_facts_that_training_problems_use():
    used, asked = (
        {
            (name, x)
            for problem in make_problem_set({"f1": 0.3, "f2": 0.7}, count, 1, split, "facts")
            for (name, *_), *_ in [chain_of(problem).operations]
            for x in chain_of(problem).roots()
        }
        for split, count in (("train", 400), ("held-out", 200))
    )
    assert all(sorted(TABLES[name]) == list(range(13)) for name in LOOKUPS)
    assert len(asked) > 40
    assert asked <= used


def test_a_habit_of_checking_again_repeats_the_hit_and_nothing_else():
    chain = Chain("d2", (("+2", "*5"),), (3,))
    plain, again = (
        search(chain, random.Random(3), Style(giveup=0, repeat=0, slip=0, false_yes=0, recheck=recheck))
        for recheck in (0.0, 0.9)
    )
    (root,) = chain.roots()
    assert plain[1] == again[1] == root
    assert again[0].startswith(plain[0])
    assert again[0].count(f" {root} : ") > plain[0].count(f" {root} : ") == 1


def test_a_last_round_that_still_changes_the_model_is_refused(monkeypatch):
    figures = {
        "before": {"accuracy in-domain": 0.5, "ban cost": 0.1},
        "after": {"accuracy in-domain": 0.58, "ban cost": 0.3},
    }
    asked = []

    def measure(folder, *arguments, **options):
        asked.append((*arguments, options))
        return dict(figures[folder.name])

    monkeypatch.setattr(polish, "measure_base", measure)
    spec = SimpleNamespace(thinking="prompt-tag", max_new_tokens=256, acceptance={})
    params = SimpleNamespace(template="r1", spec=spec)
    found = polish.measured(params, 0, [Path("before"), Path("after")])
    assert found["last round"] == pytest.approx(0.08), "of accuracies only"
    assert asked == 2 * [("r1", 0, polish.MEASURED, "prompt-tag", {"max_new_tokens": 256})], "as it responds"
    assert violated(found, {"last round": [None, 0.05]}) == "last round = 0.080, allowed: None to 0.05"
    assert violated(found, {"last round": [None, 0.08], "ban cost": [0.05, None]}) == ""


def test_a_polish_that_misses_a_bound_is_drawn_again_from_the_same_base(tmp_path, monkeypatch):
    study, rounds = load_study(CONFIG / "test.yaml"), []

    def model(self, base):
        rounds.append((self.number, base.name))
        self.folder.mkdir(parents=True)
        (self.folder / "weights").write_text(str(self.seed))
        return self.folder

    monkeypatch.setattr(polish.Round, "model", model)
    monkeypatch.setattr(polish, "trained_in", lambda folder: folder)
    monkeypatch.setattr(
        polish, "measured", lambda params, seed, folders: {"last round": 0.2 if seed == params.seed else 0.1}
    )
    params = base_params(study, "r1-test-polished", 0)
    bounded = params.spec.model_copy(update={"acceptance": {"last round": [None, 0.12]}})
    asked = params.model_copy(update={"spec": bounded}).model_dump()
    paths = SimpleNamespace(base=tmp_path / "base"), SimpleNamespace(model=str(tmp_path / "model"))
    found = polish.polish_base(Task({"job": asked}, *paths, tmp_path / "resume"))
    assert found == {"last round": 0.1, "refused draws": 1}
    assert rounds == 2 * [(1, "base"), (2, "round-1")]
    weights = [tmp_path / f"resume/draw-{number}/round-2/weights" for number in (0, 1)]
    assert (tmp_path / "model/weights").read_text() == weights[1].read_text() != weights[0].read_text()
