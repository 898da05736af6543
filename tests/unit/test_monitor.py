"""The monitor of doubt: its measures and alarm by hand, and its numbers in TRL's and in this package's trainers."""

from pathlib import Path

import pytest
import tiny
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback, TrainerControl, TrainerState
from trl import GRPOConfig, GRPOTrainer
from trl.experimental.sdpo import SDPOConfig, SDPOTrainer

from selfdistill.grading.epistemic import repeated_ngrams
from selfdistill.training.monitor import CollapseRule, EpistemicMonitor, text_of

SMALL = {
    "per_device_train_batch_size": 8, "num_generations": 4, "max_completion_length": 8, "bf16": False, "use_cpu": True, "max_steps": 2,
    "logging_steps": 1, "report_to": "none", "gradient_checkpointing": False, "save_strategy": "no", "disable_tqdm": True,
}  # fmt: skip


def state(step: int, first: bool = True) -> TrainerState:
    """The state after so many steps; first: of the first process."""
    return TrainerState(global_step=step, is_world_process_zero=first)


def watched(
    texts: list[list[str]], monitor: EpistemicMonitor, batches: int = 1, first: bool = True
) -> TrainerControl:
    """Show these responses to a monitor, so many lists per step; a token is a word. Return what it asks of the training."""
    reward = monitor.watch(lambda completions, **_: [0.0] * len(completions))
    control = TrainerControl()
    for batch, responses in enumerate(texts):
        step = batch // batches
        if batch % batches == 0:
            monitor.on_step_begin(None, state(step), control)
        ids = [list(range(len(text.split()))) for text in responses]
        reward(
            prompts=[""] * len(responses),
            completions=responses,
            completion_ids=ids,
            trainer_state=state(step),
        )
        if (batch + 1) % batches == 0:
            monitor.on_step_end(None, state(step + 1, first), control)
    return control


def test_measures_of_a_step_by_hand():
    responses = ["wait 5 no , Actually 8 yes ok", "8 yes"]
    watched([responses], monitor := EpistemicMonitor())
    (row,) = monitor.history
    assert row == {"step": 1, "length": 5.0, "words": 1.0, "forks": 1.0, "repetition": 0.0, "per_1000_tokens": 200.0, "alarm": 0.0}  # fmt: skip


def test_forks_of_traces_with_a_form_of_their_own():
    watched([["try 5 no try 8 yes", "try 8 yes"]], monitor := EpistemicMonitor(fork=r"\bno try\b"))
    (row,) = monitor.history
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


LONG, SHORT, SURE = "wait 1 2 3 4 wait 5 6 7 8", "wait wait 1 2", "1 2 3 4 5 6 7 8 9 10"
COLLAPSED = "1 2 3 4"
PAPER = (LONG, "wait 1 2 3 4") * 8, ("wait 1 2 3 4", "1 2 3") * 8
"""Responses before and after, where words and length fall by about the same factor, as DeepSeek's on AIME24 (Fig. 3c, d)."""


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
    watched([[text] for text in [LONG] * 5 + after], monitor := EpistemicMonitor())
    assert [row["alarm"] for row in monitor.history] == [0] * 5 + alarms
    assert ("collapse" in caplog.text) == (1 in alarms)


def test_the_alarm_sees_words_and_length_that_fall_together():
    """Words per 1,000 tokens hardly move then."""
    before, after = PAPER
    watched([list(before)] * 5 + [list(after)] * 3, monitor := EpistemicMonitor())
    first, last = monitor.history[0], monitor.history[-1]
    assert last["per_1000_tokens"] > 0.5 * first["per_1000_tokens"]
    assert [row["alarm"] for row in monitor.history] == [0] * 7 + [1]


def test_the_warning_comes_once_and_from_one_process(caplog):
    responses = [[LONG]] * 5 + [[COLLAPSED]] * 5
    watched(responses, EpistemicMonitor())
    assert caplog.text.count("collapse: ") == 1
    caplog.clear()
    watched(responses, EpistemicMonitor(), first=False)
    assert "collapse" not in caplog.text


def test_batches_of_one_step_are_one_row():
    """Several batches of rollouts per step, as with fewer steps per generation than accumulated: one row, judged once."""
    responses = [[LONG], [COLLAPSED]] * 8
    watched(responses, monitor := EpistemicMonitor(), batches=2)
    assert [row["step"] for row in monitor.history] == list(range(1, 9))
    assert {(row["length"], row["words"], row["alarm"]) for row in monitor.history} == {(7.0, 1.0, 0.0)}


def test_rollouts_that_serve_several_steps_are_judged_once():
    watched([[LONG]] * 5 + [[COLLAPSED]] * 2, monitor := EpistemicMonitor(stop=True))
    control = TrainerControl()
    for step in (8, 9, 10):  # no new rollouts
        monitor.on_step_begin(None, state(step - 1), control)
        monitor.on_step_end(None, state(step), control)
    assert len(monitor.history) == 7
    assert not control.should_training_stop


def test_training_stops_at_an_alarm_only_if_asked():
    for stop in (False, True):
        control = watched([[LONG]] * 5 + [[COLLAPSED]] * 3, EpistemicMonitor(stop=stop))
        assert control.should_training_stop is stop


def test_an_alarm_between_two_logs_is_logged_as_one():
    watched([[LONG]] * 5 + [[COLLAPSED]] * 3 + [[LONG]], monitor := EpistemicMonitor())
    logs, log = {"loss": 0.0}, TrainerState(log_history=[{"loss": 0.0, "step": 9}])
    monitor.on_log(None, log, None, logs=logs)
    assert logs["epistemic/alarm"] == log.log_history[-1]["epistemic/alarm"] == 1.0
    assert logs["epistemic/words"] == pytest.approx(12 / 9)


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


def test_a_second_function_is_refused():
    monitor = EpistemicMonitor()
    monitor.watch(rewarded)
    with pytest.raises(ValueError, match="already"):
        monitor.watch(rewarded)


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


@pytest.mark.parametrize(("kind", "config"), [(GRPOTrainer, GRPOConfig), (SDPOTrainer, SDPOConfig)])
def test_a_monitor_without_a_watched_function_is_refused_at_the_start(base, tmp_path, kind, config):
    trainer = built(kind, config, base, tmp_path, EpistemicMonitor())
    trainer.remove_callback(EpistemicMonitor)
    trainer.add_callback(EpistemicMonitor())
    with pytest.raises(ValueError, match="through `watch`"):
        trainer.train()


def test_a_resumed_training_keeps_its_history(base, tmp_path):
    first = EpistemicMonitor()
    trainer = trained(GRPOTrainer, GRPOConfig, base, tmp_path, first)
    later = EpistemicMonitor()
    later.watch(rewarded)
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
