"""Every setting of the paper (config/paper_settings.yaml) against config/paper.yaml and TRL's resolved
arguments.
"""

from pathlib import Path

import pytest
import tiny
import yaml

from selfdistill.study.load import load_study
from selfdistill.study.paper_settings import Deviation, load_settings, problems, used_methods, with_table
from selfdistill.training.arguments import grpo_arguments, sdpo_arguments, sft_arguments
from selfdistill.training.grpo import GroupRelativeTrainer
from selfdistill.training.on_policy import build_trainer
from selfdistill.training.sdpo import SelfDistillationTrainer

ROOT = Path(__file__).parents[2]
ROWS = load_settings(ROOT / "config" / "paper_settings.yaml")
STUDY = load_study(ROOT / "config" / "paper.yaml")
ARMS = {arm: (method, variant) for arm, method, variant in used_methods(STUDY)} | {
    "sdpo-ema": ("sdpo", "default")
}
TRL_ROWS = [(arm, row) for row in ROWS for arm in row.arms if row.trl]


def resolved(method: str, variant: str, teacher: str, folder: Path) -> dict:
    """What TRL's arguments hold after their own resolution, and the rows of an optimizer mini-batch."""
    settings = STUDY.resolve(method, variant)
    if method == "sft":
        arguments = sft_arguments(settings, folder, 0, 800)
    elif method == "grpo":
        arguments = grpo_arguments(settings, "on", folder, 0)
    else:
        arguments = sdpo_arguments(settings, teacher, "on", folder, 0)
    rows = arguments.per_device_train_batch_size * arguments.gradient_accumulation_steps
    return vars(arguments) | {"mini_batch_rows": rows}


@pytest.fixture(scope="module")
def arguments(tmp_path_factory):
    """TRL's resolved arguments of every arm."""
    folder = tmp_path_factory.mktemp("arguments")
    return {arm: resolved(*ARMS[arm], "ema-0.05" if arm == "sdpo-ema" else "fixed", folder) for arm in ARMS}


def plain(value):
    """Enumerations of transformers as their text."""
    return getattr(value, "value", value)


def test_study_holds_every_setting_of_the_paper_or_says_so():
    assert problems(STUDY, ROWS) == []


@pytest.mark.parametrize(("arm", "row"), TRL_ROWS, ids=[f"{arm}: {row.name}" for arm, row in TRL_ROWS])
def test_trl_holds_the_setting(arguments, arm, row):
    held = {name: plain(arguments[arm][name]) for name in row.trl}
    assert held == row.trl


@pytest.mark.parametrize(("arm", "longest"), [("grpo", 22528), ("sdpo/chemistry", 10240)])
def test_vllm_reserves_a_prompt_and_a_response_and_no_more(arguments, arm, longest):
    assert arguments[arm]["vllm_max_model_length"] == longest


@pytest.mark.parametrize("arm", ["grpo", "sdpo", "sdpo-ema"])
def test_vllm_sleeps_during_updates_and_has_most_of_the_card_while_awake(arguments, arm):
    own = STUDY.resolve(*ARMS[arm])
    assert arguments[arm]["vllm_enable_sleep_mode"] is own.vllm_sleep is True
    assert arguments[arm]["vllm_gpu_memory_utilization"] == own.vllm_memory > 0.5


def test_every_trained_arm_of_the_study_has_rows():
    named = {arm for row in ROWS for arm in row.arms}
    assert set(ARMS) <= named


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_trainer_objects_hold_what_the_arguments_say(tmp_path, method):
    """On a tiny model: the optimizer, the schedule and the clips that the trainer really uses."""
    own = STUDY.resolve(method, "default").model_dump(include={"learning_rate", "weight_decay", "adam_beta2"})
    small = {"grpo": tiny.GRPO, "sdpo": tiny.SDPO}[method] | own | {"warmup_steps": 10, "steps": 20}
    job = tiny.job(tmp_path, method, small)
    if method == "grpo":
        made = grpo_arguments(job.settings, job.thinking, job.resume, 0)
        trainer = build_trainer(GroupRelativeTrainer, job, made, tiny.coin_reward)
        assert (trainer.epsilon_low, trainer.epsilon_high, trainer.beta) == (0.2, 0.28, 0.0)
        assert (trainer.args.delta, trainer.loss_type, trainer.scale_rewards) == (3.0, "dapo", "none")
    else:
        made = sdpo_arguments(job.settings, "fixed", job.thinking, job.resume, 0)
        options = {"context": "solution", "template": job.template, "thinking": job.thinking}
        trainer = build_trainer(SelfDistillationTrainer, job, made, tiny.coin_reward, **options)
        assert all(not p.requires_grad for p in trainer.teacher_model.parameters())
    trainer.create_optimizer_and_scheduler(num_training_steps=made.max_steps)
    groups = trainer.optimizer.param_groups
    assert type(trainer.optimizer).__name__ == "AdamW"
    assert {group["betas"] for group in groups} == {(0.9, 0.999)}
    assert sorted(group["weight_decay"] for group in groups) == [0.0, 0.01]
    factors = [trainer.lr_scheduler.lr_lambdas[0](update) for update in (0, 10, 20, 39)]
    assert factors == [0.0, 0.5, 1.0, 1.0], "ten steps of two updates of warm-up, then constant"


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("training.sdpo.top_k", 20, "sdpo: top-k of the divergence: silent difference, the paper has 100"),
        ("training.rl.weight_decay", 0.0, "grpo: weight decay: silent difference"),
        ("section_3.top_k", None, "section-3: top-k: silent difference, the paper has 20, the study 0"),
        ("benchmarks.samples", 8, "evaluation: samples per problem: silent difference"),
        ("off_policy.per_problem", 1, "off-policy: examples per problem: deviation says 8, the study has 1"),
        ("variants.coverage.rl.prompts", 256, "grpo/coverage: prompts per step: silent difference"),
    ],
)
def test_a_silent_difference_is_found(tmp_path, key, value, message):
    for name in ("models", "benchmarks"):
        (tmp_path / f"{name}.yaml").write_text((ROOT / "config" / f"{name}.yaml").read_text())
    (tmp_path / "accelerate").symlink_to(ROOT / "config" / "accelerate")
    content = yaml.safe_load((ROOT / "config" / "paper.yaml").read_text())
    *parents, last = key.split(".")
    place = content
    for part in parents:
        place = place[part]
    place[last] = value
    (tmp_path / "paper.yaml").write_text(yaml.safe_dump(content))
    found = problems(load_study(tmp_path / "paper.yaml"), ROWS)
    assert any(line.startswith(message) for line in found), found


def test_a_row_that_compares_nothing_and_a_stale_deviation_are_found():
    row = next(row for row in ROWS if row.ours == "top_k" and "sdpo" in row.arms)
    empty = row.model_copy(update={"ours": None, "trl": {}})
    stale = row.model_copy(update={"deviation": Deviation(ours=100, why="none")})
    unknown = row.model_copy(update={"arms": ["ppo"]})
    found = problems(STUDY, [empty, stale, unknown])
    assert [
        "compared with nothing" in found[0],
        "equal to the paper" in found[1],
        "unknown arm" in found[2],
    ] == [True] * 3


def test_page_of_deviations_is_written_from_the_rows():
    page = (ROOT / "docs" / "deviations.md").read_text()
    assert page == with_table(page, ROWS), "run `python -m selfdistill.study.paper_settings`"
