"""Values that are impossible given the others are refused with file, key and what is allowed."""

import itertools
import random
from collections import Counter
from dataclasses import fields

import pytest
from spoiled import spoil

from selfdistill.models.prompts import prompt_ids
from selfdistill.organism.chains import MAX_ROOTS, MODULUS, OPERATIONS, TYPES, WORDINGS, Chain, draw_chain
from selfdistill.organism.tokenizer import build_tokenizer
from selfdistill.organism.traces import Style
from selfdistill.study.feasibility.training import PROMPT_EXTRA
from selfdistill.study.load import load_study
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.organism import CHAIN_TYPES, HABITS, VOCABULARY_SIZE

IMPOSSIBLE = {
    "unknown problem type": ({"datasets.chain.types": {"d9": 1.0}}, ["datasets.chain.types: unknown problem type 'd9'", "d1, d2"]),
    "more problems than a type has": ({"datasets.narrow.problems": 4000}, ["datasets.narrow.problems: 4000 is more", "at most 1485"]),
    "more benchmark problems than a type has": (
        {"benchmarks.problems": 150},
        ["benchmarks.problems: 150", "distinct held-out problems of types d1", "at most 144"],
    ),
    "number of made benchmark problems": ({"benchmarks.problems": None}, ["benchmarks.problems: missing"]),
    "top-k above the vocabulary": ({"training.sdpo.top_k": 200}, ["training.sdpo.top_k: 200 is more", "at most 85"]),
    "top-k of a variant": ({"variants.topk-50.sdpo.top_k": 86}, ["variants.topk-50.sdpo.top_k: 86 is more", "at most 85"]),
    "sampling top-k": ({"benchmarks.top_k": 100}, ["benchmarks.top_k: 100 is more", "at most 85"]),
    "no prompt is short enough": ({"training.rl.max_prompt_tokens": 1}, ["training.rl.max_prompt_tokens: 1 is below", "at least 1"]),
    "reprompt below the prompt": (
        {"training.sdpo.max_reprompt_tokens": 160},
        ["training.sdpo.max_reprompt_tokens: 160 would cut the question", "at least 161"],
    ),
    "micro-batch that does not divide": ({"training.rl.micro_batch": 5}, ["training.rl.micro_batch: 5 does not divide the 48 rows"]),
    "two sizes of a pass": (
        {"training.rl.micro_batch": 2, "training.rl.micro_tokens": 400},
        ["training.rl.micro_tokens: 400 and micro_batch = 2 are given", "null, or micro_batch: null"],
    ),
    "micro-batch of sft": ({"training.sft.micro_batch": 5}, ["training.sft.micro_batch: 5 does not divide the 32 rows"]),
    "warm-up beyond the run": ({"training.rl.warmup_steps": 61}, ["training.rl.warmup_steps: 61 is more than steps", "at most 50"]),
    "warm-up of sft": ({"training.sft.warmup_steps": 100}, ["training.sft.warmup_steps: 100 is more than the 48 updates"]),
    "sft below the prompts": ({"training.sft.max_tokens": 8}, ["training.sft.max_tokens: 8 is below the longest prompt", "at least 1"]),
    "answer-only without thinking": (
        {"runs.3.contexts": ["solution", "answer-only"]},
        ["runs.3.contexts: without thinking, answer-only equals solution", "allowed: solution"],
    ),
    "hints without numbers": (
        {
            "datasets.hub": {"source": "hub", "repo_id": "a/b", "split": "train", "question": "q", "answer": "a", "coverages": ["full"]},
            "runs.2.dataset": "hub",
            "runs.2.contexts": ["hint-parity"],
        },
        ["runs.2.contexts", "hint-parity needs answers from 0 to 12, which the data set hub need not have"],
    ),
    "wrong solution of a problem without": (
        {"section_3.further": ["wrong-solution"], "section_3.solve_rate": [1, 8]},
        ["section_3", "wrong-solution needs a wrong response", "must end below samples (8)"],
    ),
    "schedule with a context twice": (
        {"runs.2.method": "sdpo-schedule", "training.schedule": {"rule": "diluted", "leaner": ["solution"]}},
        ["schedule.leaner (runs.2", "'solution' comes twice in the schedule", "allowed: other-solution, wrong-solution"],
    ),
    "schedule whose recovery is its fall": (
        {"runs.2.method": "sdpo-schedule", "training.schedule": {"rule": "adaptive", "leaner": ["no-text"], "recovered_rate": 0.5}},
        ["training.schedule.recovered_rate: 0.5 must be above kept_rate = 0.5", "above 0.5, null"],
    ),
    "schedule whose controller cannot move": (
        {"runs.2.method": "sdpo-schedule", "training.schedule": {"rule": "adaptive", "leaner": ["no-text"], "window": 26}},
        ["training.schedule.window: 26 is more than half of steps", "never move"],
    ),
    "schedule to hints without numbers": (
        {
            "datasets.hub": {"source": "hub", "repo_id": "a/b", "split": "train", "question": "q", "answer": "a", "coverages": ["full"]},
            "runs.2.dataset": "hub",
            "runs.2.method": "sdpo-schedule",
            "training.schedule": {"rule": "diluted", "leaner": ["hint-half"]},
        },
        ["training.schedule.leaner: hint-half needs answers from 0 to 12, which the data set hub need not have"],
    ),
    "schedule to the answer without thinking": (
        {"runs.3.method": "sdpo-schedule", "training.schedule": {"rule": "diluted", "leaner": ["answer-only"]}},
        ["training.schedule.leaner: without thinking, answer-only equals solution"],
    ),
    "loss at an unknown class of tokens": (
        {"runs.2.method": "sdpo-positions", "training.positions": {"at": ["opener", "forks"]}},
        ["training.positions.at.1: 'forks' is not allowed; allowed: opener, fork, candidate, answer, other, epistemic, high-entropy"],
    ),
    "loss at a class twice": (
        {"runs.2.method": "sdpo-positions", "training.positions": {"at": ["fork", "answer", "fork"]}},
        ["training.positions.at: 'fork' comes twice; allowed beside: opener, candidate, other"],
    ),
    "loss at no class": ({"runs.2.method": "sdpo-positions", "training.positions": {"at": []}}, ["training.positions.at: "]),
    "loss at classes that are not named": ({"runs.2.method": "sdpo-positions"}, ["training.positions.at: missing"]),
    "loss kept in another way": (
        {"runs.2.method": "sdpo-positions", "training.positions": {"at": ["fork"], "keep": "all"}},
        ["training.positions.keep: 'all' is not allowed; allowed: only, without"],
    ),
    "more than all tokens": (
        {"runs.2.method": "sdpo-positions", "training.positions": {"at": ["high-entropy"], "entropy_share": 20}},
        ["training.positions.entropy_share: "],
    ),
    "gate that never opens": (
        {"runs.2.method": "antisd", "training.antisd": {"gate_warmup_steps": 60}},
        ["training.antisd.gate_warmup_steps: 60 is more than steps = 60 - 1", "at most 59"],
    ),
    "wrong hints of another form": (
        {"runs.2.method": "rlcsd", "runs.2.contexts": ["answer-only"]},
        ["runs.2.contexts", "'answer-only'", "allowed: solution, solution-random, solution-shortest"],
    ),
    "instruction to an organism": (
        {"runs.2.contexts": ["concise"]},
        ["runs.2.contexts: concise asks in words that are not in the vocabulary of an organism (", "allowed: answer-only, solution"],
    ),
    "schedule to an instruction to an organism": (
        {"runs.2.method": "sdpo-schedule", "training.schedule": {"rule": "diluted", "leaner": ["concise"]}},
        ["training.schedule.leaner: concise asks in words"],
    ),
    "a part of the vocabulary of a projection": (
        {"runs.2.method": "projps"},
        ["projps.top_k (runs.2, variant default): 20 leaves a part of the target out; allowed: null"],
    ),
    "a word in two groups": (
        {"runs.2.method": "projps", "training.projps": {"top_k": None, "confident_words": ["so", "wait"]}},
        ["training.projps.confident_words: 'wait' is an epistemic word; allowed: words other than wait, hmm"],
    ),
    "a confident word that no token is": (
        {"runs.2.method": "projps", "training.projps": {"top_k": None, "confident_words": [" So"]}},
        ["training.projps.confident_words: ' So' must be in small letters"],
    ),
    "purified target with a moving base": (
        {"runs.2.method": "purified", "training.purified": {"top_k": None}, "runs.2.teachers": ["ema-0.05"]},
        ["runs.2.teachers", "'ema-0.05'", "allowed: fixed"],
    ),
    "purified target of a context without a response": (
        {"runs.2.method": "purified", "training.purified": {"top_k": None}, "runs.2.contexts": ["no-text"]},
        ["runs.2.contexts", "'no-text'", "allowed: answer-only, solution, other-solution"],
    ),
    "mixed target with a moving base": (
        {"runs.2.method": "adopsd", "runs.2.teachers": ["snapshot-10"]},
        ["runs.2.teachers", "'snapshot-10'", "allowed: fixed"],
    ),
    "more base than there is": (
        {"runs.2.method": "adopsd", "training.adopsd": {"base_share": 1.5}},
        ["training.adopsd.base_share", "less than or equal to 1"],
    ),
    "demonstration that is impossible": (
        {"training.sdpo.success_threshold": 1.5},
        ["training.sdpo.success_threshold: 1.5", "above 0, at most 1"],
    ),
    "every response a demonstration": ({"training.sdpo.success_threshold": 0.0}, ["success_threshold: 0", "above 0, at most 1"]),
    "clip that cancels": ({"training.sdpo.is_clip": 0.0}, ["training.sdpo.is_clip: 0 would cancel", "above 0"]),
    "clip to zero": ({"training.grpo.clip_low": 1.0}, ["training.grpo.clip_low: 1", "below 1"]),
    "rate that diverges": ({"training.sft.learning_rate": 1e30}, ["training.sft.learning_rate: 1e+30 is too high", "below 1"]),
    "temperature": ({"benchmarks.temperature": 1e6}, ["benchmarks.temperature: 1e+06 is too high"]),
    "longer than the model": ({"benchmarks.max_new_tokens": 512}, ["benchmarks.max_new_tokens: 512 is more", "at most 496"]),
    "rollouts longer than the model": ({"training.rl.max_new_tokens": 505}, ["training.rl.max_new_tokens: 505 is more"]),
    "more per problem than drawn": ({"off_policy.per_problem": 9}, ["off_policy.per_problem: 9 is more than section_3.samples"]),
    "fewer than one problem's": ({"off_policy.trajectories": 2}, ["off_policy.trajectories: 2 is below per_problem = 3"]),
    "one domain twice": ({"domains.narrow": "chain"}, ["domains.narrow: 'chain' is the broad domain too", "allowed: narrow"]),
    "other spelling of a teacher": ({"runs.2.teachers": ["ema-.050"]}, ["runs.2.teachers: 'ema-.050'", "allowed: ema-0.05"]),
    "negative seed": ({"seeds": [-1]}, ["seeds: -1 is negative"]),
    "replicate beyond the streams": ({"replicates": [1000]}, ["replicates: 1000 is too large; allowed: 0 to 999"]),
    "unknown key of an unused variant": ({"variants.later": {"grpo": {"steqs": 4}}}, ["variants.later.grpo.steqs: unknown key", "mean steps?"]),
    "list with a repeat": ({"figures.figure3": ["on-policy", "on-policy"]}, ["figures.figure3: 'on-policy' is listed twice"]),
}  # fmt: skip


@pytest.mark.parametrize(("changes", "expected"), IMPOSSIBLE.values(), ids=IMPOSSIBLE)
def test_what_cannot_be_together_is_refused(folder, changes, expected):
    with pytest.raises(StudyError) as caught:
        spoil(folder, changes)
    message = str(caught.value)
    assert message.startswith(str(folder / "mini.yaml"))
    assert [part for part in expected if part not in message] == [], message


CATALOGUE_MISTAKES = {
    "bases.r1-mini.heads": (3, "bases.r1-mini.hidden_size: 128 is not a multiple of 2 x heads = 6"),
    "bases.r1-mini.style.givup": (0.1, "bases.r1-mini.style.givup: unknown habit; .*did you mean giveup"),
    "bases.r1-mini.acceptance.accuracy": ([0, 1], "bases.r1-mini.acceptance.accuracy: unknown figure"),
    "bases.r1-mini.acceptance.arithmetic": (
        [0.9, 0.1],
        "acceptance.arithmetic: lowest 0.9 is above highest 0.1",
    ),
    "bases.r1-mini.learning_rate": (2.0, "bases.r1-mini.learning_rate: 2 is too high"),
    "models.r1-mini.thinking": (
        "on",
        "models.r1-mini.thinking: 'on' cannot be written by the template r1 .*prompt-tag",
    ),
    "models.r1-mini.sampling": ({"top_k": 99}, "models.r1-mini.sampling.top_k: 99 is more than"),
}


@pytest.mark.parametrize("key", CATALOGUE_MISTAKES)
def test_models_that_cannot_be_are_refused(folder, key):
    value, message = CATALOGUE_MISTAKES[key]
    with pytest.raises(StudyError, match=f"models.yaml: .*{message}"):
        spoil(folder, {key: value}, "models.yaml")


def test_more_than_a_data_file_holds_is_refused(folder):
    path = folder / "paper.yaml"
    text = path.read_text()
    for old, new, message in (
        (
            "pool: 17000",
            "pool: 18001",
            "section_3.pool: 18001 is more than the data set dapo holds; allowed: at most 18000",
        ),
        (
            "samples: 16",
            "samples: 16\n  problems: 31",
            "benchmarks.problems: 31 is more than the benchmark aime24 holds",
        ),
        (
            "coverages: [full]\ndomains",
            "coverages: [1891, full]\ndomains",
            "datasets.chemistry.coverages: 1891 is more",
        ),
    ):
        assert old in text
        path.write_text(text.replace(old, new, 1))
        with pytest.raises(StudyError, match=f"paper.yaml: {message}"):
            load_study(path)


def test_the_numbers_of_the_mini_task_are_those_of_the_organism():
    """What a study file is checked against, against what it stands for."""
    for name, kind in CHAIN_TYPES.items():
        problems = {draw_chain(name, random.Random(n), "train").question() for n in range(40)}
        for template, thinking in (
            ("r1", "prompt-tag"),
            ("qwen3", "on"),
            ("qwen3", "off"),
            ("olmo3", "none"),
        ):
            lengths = {len(ids) for ids in prompt_ids(build_tokenizer(template), sorted(problems), thinking)}
            assert lengths == {kind.prompt_tokens + PROMPT_EXTRA.get(thinking, 0)}, (name, template)
        if name in ("d1", "d2", "d3"):
            assert count_problems(name) == {"train": kind.train, "held-out": kind.held_out}
    assert len(build_tokenizer("r1")) == VOCABULARY_SIZE
    assert set(HABITS) == {field.name for field in fields(Style) if field.type is float}


def count_problems(name: str) -> Counter:
    """Distinct problems of a type in both splits, one by one."""
    found = Counter()
    (length,) = TYPES[name]
    for operations in itertools.product(OPERATIONS, repeat=length):
        for wording in range(len(WORDINGS) if name == "d1" else 1):
            unsolved = Chain(name, (operations,), (), wording)
            targets = {unsolved.values(x)[-1] for x in range(MODULUS)}
            chains = [Chain(name, (operations,), (target,), wording) for target in targets]
            found.update(chain.split() for chain in chains if len(chain.roots()) <= MAX_ROOTS)
    return found


POLISH_MISTAKES = {
    "of": ("r1-tset", "bases.r1-test-polished.of: 'r1-tset'.*did you mean r1-test"),
    "thinking": ("on", "bases.r1-test-polished.thinking: 'on' cannot be written by the template r1 of r1-test"),
    "types": ({"d9": 1.0}, "bases.r1-test-polished.types.d9: unknown type of problem"),
    "selection.pool": (400, "bases.r1-test-polished.selection.pool: 400 is more than .*at most 336"),
    "max_new_tokens": (512, "bases.r1-test-polished.max_new_tokens: 512 is more than the 512 positions"),
    "sft.learning_rate": (2.0, "bases.r1-test-polished.sft.learning_rate: 2 is too high"),
    "acceptance": ({"last rounds": [0, 1]}, "acceptance.last rounds: unknown figure; .*did you mean last round"),
}  # fmt: skip


@pytest.mark.parametrize("key", POLISH_MISTAKES)
def test_a_polish_that_cannot_be_is_refused(folder, key):
    value, message = POLISH_MISTAKES[key]
    with pytest.raises(StudyError, match=f"models.yaml: .*{message}"):
        spoil(folder, {f"bases.r1-test-polished.{key}": value}, "models.yaml", study="test.yaml")
