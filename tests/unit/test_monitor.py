"""The monitor of doubt: its measures and alarm by hand, its numbers in TRL's and in this package's trainers, and the example of its page."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerState
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

from selfdistill.grading.epistemic import repeated_ngrams
from selfdistill.training.monitor import CollapseRule, EpistemicMonitor, text_of

ROOT = Path(__file__).parents[2]
SMALL = {
    "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 8, "bf16": False, "use_cpu": True, "max_steps": 2,
    "logging_steps": 1, "report_to": "none", "gradient_checkpointing": False, "save_strategy": "no", "disable_tqdm": True,
}  # fmt: skip


def state(step: int = 0) -> TrainerState:
    return TrainerState(global_step=step)


def watched(texts: list[list[str]], monitor: EpistemicMonitor) -> EpistemicMonitor:
    """A monitor that saw these responses, a list per step; a token is a word."""
    reward = monitor.watch(lambda completions, **_: [0.0] * len(completions))
    for step, responses in enumerate(texts):
        monitor.on_step_begin(None, state(step), None)
        ids = [list(range(len(text.split()))) for text in responses]
        reward(
            prompts=[""] * len(responses),
            completions=responses,
            completion_ids=ids,
            trainer_state=state(step),
        )
    return monitor


def test_measures_of_a_step_by_hand():
    responses = ["wait 5 no , Actually 8 yes ok", "8 yes"]
    (row,) = watched([responses], EpistemicMonitor()).history
    assert row == {"step": 1, "length": 5.0, "words": 1.0, "forks": 1.0, "repetition": 0.0, "per_1000_tokens": 200.0, "alarm": 0.0}  # fmt: skip


def test_forks_of_traces_with_a_form_of_their_own():
    (row,) = watched([["try 5 no try 8 yes", "try 8 yes"]], EpistemicMonitor(fork=r"\bno try\b")).history
    assert row["forks"] == 0.5


def test_a_conversation_is_its_messages():
    assert text_of([{"role": "assistant", "content": "a"}, {"role": "tool", "content": None}]) == "a\n"


def test_repetition_is_the_share_of_ngrams_that_occurred_before():
    assert repeated_ngrams("a b c d") == 0.0
    assert repeated_ngrams("a b c") == 0.0
    assert repeated_ngrams("") == 0.0
    assert repeated_ngrams("wait " * 13) == pytest.approx(9 / 10)
    assert repeated_ngrams("a b c d A B C D") == pytest.approx(1 / 5)
    assert repeated_ngrams("a b a b", n=2) == pytest.approx(1 / 3)


LONG, SHORT, SURE = "wait 1 2 3 4 5 6 7 8 9", "wait 1 2 3", "1 2 3 4 5 6 7 8 9 10"
COLLAPSED = "1 2 3 4"


@pytest.mark.parametrize(
    ("after", "alarms"),
    [
        ([COLLAPSED] * 3, [0, 0, 1]),
        ([COLLAPSED, COLLAPSED, LONG, COLLAPSED], [0, 0, 0, 0]),  # not in a row
        ([SHORT] * 4, [0, 0, 0, 0]),  # short with as much doubt
        ([SURE] * 4, [0, 0, 0, 0]),  # sure and as long
    ],
)
def test_the_alarm_needs_fewer_words_and_shorter_responses_in_a_row(after, alarms, caplog):
    monitor = watched([[text] for text in [LONG] * 5 + after], EpistemicMonitor())
    assert [row["alarm"] for row in monitor.history] == [0] * 5 + alarms
    assert ("collapse" in caplog.text) == (1 in alarms)


def test_training_stops_at_an_alarm_only_if_asked():
    for stop in (False, True):
        monitor = watched([[LONG]] * 5 + [[COLLAPSED]] * 3, EpistemicMonitor(stop=stop))
        control = monitor.on_step_end(None, state(), type("Control", (), {"should_training_stop": False})())
        assert control.should_training_stop is stop


@pytest.mark.parametrize("wrong", [{"warmup": 0}, {"window": 0}, {"words": 1.0}, {"length": 0.0}])
def test_a_rule_out_of_range_is_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        CollapseRule(**wrong)


def test_only_a_plain_function_can_be_watched():
    async def later(completions, **_):
        return []

    for wrong in ("model-name", torch.nn.Linear(1, 1), later):
        with pytest.raises(TypeError, match="plain reward function"):
            EpistemicMonitor().watch(wrong)


@pytest.fixture(scope="module")
def base(tmp_path_factory) -> Path:
    return tiny.save_base(tmp_path_factory.mktemp("monitor") / "base")


def rewarded(completions, **_):
    """Half of the responses are right."""
    return [float(score.correct) for score in tiny.coin_reward([text_of(one) for one in completions], None)]


def built(kind, config, base: Path, folder: Path, monitor: EpistemicMonitor, **more):
    """A trainer of TRL for two steps."""
    data = Dataset.from_dict(
        {"prompt": [[{"role": "user", "content": f"find x : x *5 = {n}"}] for n in range(4)]}
    )
    return kind(
        AutoModelForCausalLM.from_pretrained(base), reward_funcs=monitor.watch(rewarded), train_dataset=data,
        args=config(output_dir=str(folder), **SMALL, **more), processing_class=AutoTokenizer.from_pretrained(base),
        callbacks=[monitor], eval_dataset=data if more.get("eval_strategy") else None,
    )  # fmt: skip


def trained(*args, **more):
    """A trainer of `built` after its steps."""
    trainer = built(*args, **more)
    trainer.train()
    return trainer


def test_numbers_of_trls_grpo_are_those_of_its_own_log(base, tmp_path):
    monitor = EpistemicMonitor()
    trainer = trained(GRPOTrainer, GRPOConfig, base, tmp_path, monitor)
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert [row["epistemic/length"] for row in rows] == pytest.approx(
        [r["completions/mean_length"] for r in rows]
    )
    assert [row["step"] for row in monitor.history] == [1, 2]
    assert "without_demonstration" not in monitor.history[0]


def test_numbers_of_trls_sdpo_and_none_of_its_evaluations(base, tmp_path):
    monitor = EpistemicMonitor()
    more = {"eval_strategy": "steps", "eval_steps": 1, "per_device_eval_batch_size": 8}
    trainer = trained(SDPOTrainer, SDPOConfig, base, tmp_path, monitor, **more)
    rows = [row for row in trainer.state.log_history if "loss" in row]
    assert len(monitor.history) == len(rows) == 2
    shown = [row["self_distillation/reprompt_sample_fraction"] for row in rows]
    assert [row["epistemic/without_demonstration"] for row in rows] == pytest.approx(
        [1 - one for one in shown]
    )
    assert [row["epistemic/length"] for row in rows] == pytest.approx(
        [r["completions/mean_length"] for r in rows]
    )


def test_a_resumed_training_keeps_its_history(base, tmp_path):
    first = EpistemicMonitor()
    trainer = trained(GRPOTrainer, GRPOConfig, base, tmp_path, first)
    later = EpistemicMonitor()
    later.on_train_begin(None, trainer.state, None)
    assert later.history == first.history


class Spy(TrainerCallback):
    """A logger that comes before the monitor."""

    def __init__(self) -> None:
        self.seen: list[set[str]] = []

    def on_log(self, args, state, control, logs=None, **_) -> None:
        self.seen.append({name for name in logs if name.startswith("epistemic/")})


@pytest.mark.parametrize("first", [False, True])
def test_loggers_see_the_measures_if_the_monitor_comes_first(base, tmp_path, first):
    monitor, spy = EpistemicMonitor(), Spy()
    trainer = built(GRPOTrainer, GRPOConfig, base, tmp_path, monitor)
    trainer.remove_callback(monitor)
    trainer.add_callback(spy)
    trainer.add_callback(monitor)
    if first:
        monitor.put_first(trainer)
    trainer.train()
    assert trainer.callback_handler.callbacks.count(monitor) == 1
    assert ("epistemic/length" in spy.seen[0]) == first


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_numbers_of_this_packages_trainers_are_those_of_the_rollouts(tmp_path, method):
    from selfdistill.training.grpo import GroupRelativeTrainer
    from selfdistill.training.grpo import grpo_arguments as grpo
    from selfdistill.training.on_policy import build_trainer
    from selfdistill.training.sdpo import SelfDistillationTrainer, sdpo_arguments, teacher_options

    monitor = EpistemicMonitor()
    job = tiny.job(tmp_path, method, {"grpo": tiny.GRPO, "sdpo": tiny.SDPO}[method])
    plain = (job.settings, job.thinking, job.resume, job.seed)
    kind, arguments, options = {
        "grpo": lambda: (GroupRelativeTrainer, grpo(*plain), {}),
        "sdpo": lambda: (
            SelfDistillationTrainer,
            sdpo_arguments(plain[0], job.run.teacher, *plain[1:]),
            teacher_options(job),
        ),
    }[method]()
    trainer = build_trainer(kind, job, arguments, tiny.coin_reward, **options)
    trainer.reward_funcs = [monitor.watch(trainer.reward_funcs[0])]
    trainer.add_callback(monitor)
    trainer.args.save_strategy = "no"
    trainer.train()
    recorder = next(one for one in trainer.callback_handler.callbacks if hasattr(one, "rollouts"))
    last, rollouts = monitor.history[-1], recorder.rollouts
    assert len(monitor.history) == job.settings.steps
    assert last["length"] == pytest.approx(rollouts["response_tokens"].mean())
    if method == "sdpo":
        assert last["without_demonstration"] == pytest.approx(
            1 - rollouts["has_demonstration"].astype(float).mean()
        )


def test_the_example_of_the_page_trains(base, tmp_path):
    page = (ROOT / "docs/use_in_trl.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"<!-- file: train.py -->\n```python\n(.*?)```", page, re.DOTALL)
    (tmp_path / "train.py").write_text(code, encoding="utf-8")
    rows = [{"prompt": f"find x : x *{n} = 4", "answer": str(n)} for n in range(1, 9)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    command = [sys.executable, "train.py", str(base), "problems.jsonl", "2", "16"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not tiny.same_weights(base, tmp_path / "trained/model")
    assert "epistemic/without_demonstration" in done.stdout


def test_losses_contexts_trainers_and_monitor_need_no_package_of_the_study():
    code = """
import sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in {"snakemake", "statsmodels", "matplotlib", "seaborn", "math_verify"}:
            raise ImportError(f"refused: {name}")
sys.meta_path.insert(0, Refuse())
from selfdistill.training import grpo, monitor, sdpo, teacher
from selfdistill.training.loss import chunked
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
