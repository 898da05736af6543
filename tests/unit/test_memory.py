"""The memory of a GPU: the model against known sizes and against an independent account of the paper's runs, and what plan and doctor say."""

from dataclasses import replace
from pathlib import Path

import pytest
from spoiled import on_gpus

from selfdistill.commands import doctor, plan
from selfdistill.commands.costs import Assumptions
from selfdistill.commands.memory import (
    CARDS,
    SHAPES,
    Need,
    Training,
    cache_tokens,
    memory_section,
    most_demanding,
    needs_of,
    shape_of,
    training_of,
)
from selfdistill.study.load import load_study

CONFIG = Path(__file__).parents[2] / "config"
EIGHT = load_study(CONFIG / "paper.yaml")
PAPER = on_gpus(EIGHT, 4)
"""On four cards each, as the account by hand is."""
MINI = load_study(CONFIG / "mini.yaml")
QWEN = SHAPES["qwen3-8b"]
GRPO = Training(QWEN, 22528, cards=4, share=0.3)
SDPO = replace(GRPO, teacher=True)
WHOLE, SHARED, ASLEEP = {"sync_each_batch": False}, {}, {"sleep": True}


@pytest.mark.parametrize(
    ("pattern", "billions"),
    [("qwen3-8b", 8.19), (r"qwen3-1\.7b", 1.72), ("deepseek.*7b", 7.62), ("olmo-3-7b", 7.30)],
)
def test_shapes_have_the_parameters_that_the_models_state(pattern, billions):
    assert SHAPES[pattern].parameters / 1e9 == pytest.approx(billions, abs=0.01)


def test_random_weights_have_the_shape_that_the_config_states():
    study = load_study(CONFIG / "smoke_random.yaml")
    assert shape_of(study, "random-1.7b") == SHAPES[r"qwen3-1\.7b"]


@pytest.mark.parametrize(
    ("part", "size"),
    [("weights", 7.6), ("optimizer", 15.3), ("gradients", 30.5), ("activations", 6.2), ("layer", 3.5)],
)
def test_parts_of_a_card_of_qwen3_8b_on_four(part, size):
    whole = replace(GRPO, **WHOLE)
    assert (whole.states() | whole.passes())[part] == pytest.approx(size, abs=0.06)


TABLE = [
    (79, WHOLE, 89, 105), (140, WHOLE, 107, 123), (178, WHOLE, 119, 135),
    (79, SHARED, 66, 82), (140, SHARED, 84, 100), (178, SHARED, 96, 112),
    (79, ASLEEP, 44, 59), (140, ASLEEP, 44, 59), (178, ASLEEP, 44, 59),
]  # fmt: skip


@pytest.mark.parametrize(("card", "settings", "grpo", "sdpo"), TABLE)
def test_updates_agree_with_an_independent_account(card, settings, grpo, sdpo):
    """Made by hand for Qwen3-8B on four GPUs, rounded; it leaves out the gradient of GRPO's head."""
    gradient = 2 * QWEN.head / 2**30
    assert replace(GRPO, **settings).updates(card) == pytest.approx(grpo + gradient, abs=0.8)
    assert replace(SDPO, **settings).updates(card) == pytest.approx(sdpo, abs=0.8)


def test_cache_of_the_engine():
    assert QWEN.cache_bytes == 144 * 1024
    assert cache_tokens(QWEN, 0.3, 79.3) == pytest.approx(44_000, rel=0.03)
    assert cache_tokens(QWEN, 0.1, 79.0) == 0


def test_a_sleeping_engine_must_fit_beside_what_stays():
    awake = replace(SDPO, share=0.85, sleep=True)
    assert awake.updates(79) < 79 < awake.rollouts(79)
    most = awake.most_share(79)
    assert replace(awake, share=most).rollouts(79) == pytest.approx(79 - 1.5)
    assert replace(SDPO, share=SDPO.most_share(140)).updates(140) == pytest.approx(140 - 1.5)


def test_runs_of_the_paper_are_read_from_the_study():
    (run,) = PAPER.runs("on-policy", methods=("grpo",))[1:2]
    made = Training(QWEN, 22528, cards=4, share=0.55, sleep=True)
    assert training_of(PAPER, run) == made
    assert training_of(EIGHT, run) == replace(made, cards=8)
    assert {name: 2 * size for name, size in replace(made, cards=8).states().items()} == made.states()
    stages = ["sft, sft", "rl, grpo", "rl, sdpo", "evaluate", "section_3"]
    assert list(most_demanding(needs_of(PAPER), 79)) == stages
    assert most_demanding(needs_of(PAPER), 79)["rl, grpo"].training.tokens == 22528
    assert not needs_of(MINI)


def test_every_study_with_gpus_fits_on_every_card_that_the_plan_names():
    for name in ("paper", "single_gpu", "released"):
        for need in needs_of(load_study(CONFIG / f"{name}.yaml")):
            assert not [need.problem(card) for card in CARDS.values() if need.problem(card)], need


def test_plan_says_per_stage_and_card_what_fits():
    page = plan.render(PAPER, Assumptions(), {})
    assert "memory per GPU in GiB" in page
    stage = page.partition("  rl, sdpo\n")[2].splitlines()
    assert stage[0].startswith(
        "    H100 (79): qwen3-8b-think: updates 60, rollouts 74; fits; vllm_memory at most 0.59; "
    )
    assert stage[2].startswith("    B200 (178): qwen3-8b-think: updates 60, rollouts 128; fits; ")
    assert not memory_section(MINI)


def test_a_pass_of_more_tokens_than_the_longest_row_counts():
    def of(limit):
        study = with_rl(micro_tokens=limit)
        return training_of(study, study.runs("on-policy", methods=("grpo",))[1])

    assert of(1) == of(22528) == training_of(PAPER, PAPER.runs("on-policy", methods=("grpo",))[1])
    assert (of(45056).tokens, of(45056).rows) == (45056, 1)
    more = of(45056).updates(79) - of(22528).updates(79)
    assert more == pytest.approx(
        6.2 + 3.2, abs=0.3
    )  # the inputs of all layers, and one layer again, of as many tokens


def test_without_micro_batch_and_micro_tokens_a_pass_is_the_whole_mini_batch_of_a_card():
    study = with_rl(micro_tokens=None)
    grpo = training_of(study, study.runs("on-policy", methods=("grpo",))[1])
    assert (grpo.rows, grpo.tokens) == (256 * 8 // 2 // 4, 2048 + 20480), "of 4 cards"
    sft = PAPER.file.training["sft"] | {"micro_batch": None, "batch_size": 32}
    training = PAPER.file.training | {"sft": sft}
    study = replace(PAPER, file=PAPER.file.model_copy(update={"training": training}))
    assert training_of(study, study.runs(methods=("sft",))[0]).rows == 32 // 4


def test_the_longest_sequence_of_a_job_is_its_prompt_and_response():
    longest = {(need.stage, need.longest) for need in needs_of(PAPER)}
    narrow, broad = 2048 + 8192, 2048 + 20480
    trained = {("sft, sft", 16384)} | {(f"rl, {m}", own) for m in ("grpo", "sdpo") for own in (narrow, broad)}
    shows_a_response = 2048 + 32768 + 32768
    assert longest == trained | {("evaluate", 2048 + 38912), ("section_3", shows_a_response)}


def with_rl(**changed) -> object:
    """The paper's study with other settings of its on-policy trainings."""
    training = PAPER.file.training | {"rl": PAPER.file.training["rl"] | changed}
    return replace(PAPER, file=PAPER.file.model_copy(update={"training": training}))


def greedy() -> object:
    """The paper's study with the share that a sleeping engine seems to allow."""
    return with_rl(vllm_memory=0.85)


def test_plan_and_doctor_name_what_does_not_fit_with_the_number():
    assert "H100 (79): qwen3-8b-think: updates 60, rollouts 98; does not fit: needs 98 GiB" in "\n".join(
        memory_section(greedy())
    )
    cards = "NVIDIA H100 80GB HBM3, 81559, 580.1\n" * 4
    found = list(doctor.check_gpus(greedy(), lambda *command: cards))
    assert [finding.level for finding in found] == ["ok", "problem"]
    assert found[-1].text.startswith("study paper does not fit: rl, grpo, qwen3-8b-think: needs 91 GiB")
    assert "rl, sdpo, qwen3-8b-think: needs 98 GiB and 1.5 GiB free, the card has 80" in found[-1].text
    assert "cache has room for" in Need("evaluate", "x", QWEN, 0.3, 100_000).problem(79)
    (_, fits) = doctor.check_gpus(PAPER, lambda *command: cards)
    assert (fits.level, fits.subject) == ("ok", "GPU memory")
