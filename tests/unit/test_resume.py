"""A killed run continues and ends bit-identical to an uninterrupted one; two runs with one seed are the same
run.
"""

import json
import os
import signal

import pandas
import pytest
import tiny
from accelerate import Accelerator

from selfdistill.records.completeness import checkpoint_folders
from selfdistill.records.file_lists import FILE_LIST, write_file_list
from selfdistill.records.resume import delete_checkpoint
from selfdistill.training.checkpoints import CheckpointStore
from selfdistill.training.grpo import train_grpo
from selfdistill.training.job import STOP
from selfdistill.training.sdpo import SelfDistillationTrainer, train_sdpo
from selfdistill.training.sft import LossRecorder, train_sft
from selfdistill.vocabulary.runs import LAST

STEPS, KILLED_AT = 5, 3  # checkpoints at steps 2, 4 and 5: step 3 is begun again, and so is its record
KINDS = {"grpo": ("grpo", "none"), "sdpo-fixed": ("sdpo", "fixed"), "sdpo-ema": ("sdpo", "ema-0.2")}


class Killed(BaseException):
    """Stands in for SIGKILL: nothing in the trainer may catch it."""


def rl_job(folder, kind: str, name: str):
    method, teacher = KINDS[kind]
    settings = (tiny.GRPO if method == "grpo" else tiny.SDPO) | {"steps": STEPS}
    return tiny.job(folder, method, settings, name=name, teacher=teacher)


def run(job, reward=tiny.coin_reward) -> None:
    {"grpo": train_grpo, "sdpo": train_sdpo}[job.run.method](job, reward)


def at_call(number: int, action):
    """The coin reward, with `action` before call `number` (0-based)."""
    calls = []

    def reward(responses, answers):
        calls.append(1)
        if len(calls) == number + 1:
            action()
        return tiny.coin_reward(responses, answers)

    return reward


def kill() -> None:
    raise Killed


def assert_same_outputs(left, right, rollouts: bool = True) -> None:
    """Weights of every checkpoint, rollouts and records are equal, but for the wall time."""
    declared = checkpoint_folders(left.output / "checkpoints", left.settings.exported_steps or [LAST])
    names = [path.name for path in declared.values()]
    assert names == sorted(p.name for p in (right.output / "checkpoints").glob("step-*"))
    for name in names:
        assert tiny.same_weights(left.output / "checkpoints" / name, right.output / "checkpoints" / name), (
            name
        )
    for file in ("rollouts.parquet", "training.parquet")[0 if rollouts else 1 :]:
        tables = [
            pandas.read_parquet(job.output / file).drop(columns="seconds", errors="ignore")
            for job in (left, right)
        ]
        pandas.testing.assert_frame_equal(*tables, check_exact=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, kind):
    whole, killed = rl_job(tmp_path, kind, "whole"), rl_job(tmp_path, kind, "killed")
    run(whole)
    with pytest.raises(Killed):
        run(killed, at_call(KILLED_AT, kill))
    assert not killed.output.exists()  # declared outputs come last
    half = killed.resume / "checkpoint-6"  # what a kill in the middle of a save leaves
    half.mkdir()
    (half / "model.safetensors").write_bytes(b"half")
    run(killed)
    assert_same_outputs(whole, killed)
    again = rl_job(tmp_path, kind, "again")
    run(again)
    assert_same_outputs(whole, again)


def test_without_its_teacher_an_ema_run_would_end_elsewhere(tmp_path, monkeypatch):
    whole, killed = rl_job(tmp_path, "sdpo-ema", "whole"), rl_job(tmp_path, "sdpo-ema", "killed")
    run(whole)
    with pytest.raises(Killed):
        run(killed, at_call(KILLED_AT, kill))
    monkeypatch.setattr(SelfDistillationTrainer, "load_extra_state", lambda self, folder: None)
    run(killed)
    last = f"checkpoints/step-{STEPS}"
    assert not tiny.same_weights(whole.output / last, killed.output / last)


def test_a_second_seed_is_another_run(tmp_path):
    jobs = [
        tiny.job(tmp_path, "grpo", tiny.GRPO | {"steps": 1}, name=str(seed), seed=seed) for seed in (0, 1)
    ]
    for job in jobs:
        run(job)
    rollouts = [pandas.read_parquet(job.output / "rollouts.parquet")["response"].tolist() for job in jobs]
    assert rollouts[0] != rollouts[1]


@pytest.mark.parametrize(
    "killed_at", [1, 2, 4]
)  # inside the first epoch, on an epoch's end, inside the third
def test_a_killed_sft_run_ends_as_if_it_had_not_been(tmp_path, monkeypatch, killed_at):
    whole, killed = (tiny.job(tmp_path, "sft", tiny.SFT, name=name) for name in ("whole", "killed"))
    train_sft(whole)
    original = LossRecorder.on_log

    def on_log(self, args, state, control, logs=None, **kwargs):
        original(self, args, state, control, logs=logs, **kwargs)
        if state.global_step == killed_at + 1:
            raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(LossRecorder, "on_log", on_log)
        with pytest.raises(Killed):
            train_sft(killed)
    train_sft(killed)
    assert_same_outputs(whole, killed, rollouts=False)


@pytest.mark.parametrize("every", [1, 3])
def test_checkpoints_to_resume_from_bound_the_steps_that_a_kill_loses(tmp_path, every):
    whole, killed = (
        rl_job(tmp_path, "sdpo-ema", name).model_copy(update={"resume_every": every * (name == "killed")})
        for name in ("whole", "killed")
    )
    run(whole)
    with pytest.raises(Killed):
        run(killed, at_call(KILLED_AT, kill))
    begun = []
    run(killed, lambda responses, answers: begun.append(1) or tiny.coin_reward(responses, answers))
    assert len(begun) == STEPS - KILLED_AT, "the step that was killed, and those that had not begun"
    assert_same_outputs(whole, killed)  # the exported checkpoints are those of checkpoint_every


def test_a_killed_sft_run_goes_on_within_its_epoch(tmp_path, monkeypatch):
    whole = tiny.job(tmp_path, "sft", tiny.SFT, name="whole")
    killed = tiny.job(tmp_path, "sft", tiny.SFT, name="killed").model_copy(update={"resume_every": 1})
    train_sft(whole)
    original, begun = LossRecorder.on_log, []

    def on_log(self, args, state, control, logs=None, **kwargs):
        begun.append(state.global_step)
        original(self, args, state, control, logs=logs, **kwargs)
        if len(begun) == 4:
            raise Killed

    monkeypatch.setattr(LossRecorder, "on_log", on_log)
    with pytest.raises(Killed):
        train_sft(killed)
    train_sft(killed)
    assert begun[4] == 4, "an epoch has two updates: without a checkpoint of its own, update 3 is done again"
    assert_same_outputs(whole, killed, rollouts=False)


def ask_by_signal(job) -> None:
    os.kill(os.getpid(), signal.SIGTERM)


def ask_by_file(job) -> None:
    (job.resume / STOP).touch()  # as the launcher of several processes does


@pytest.mark.parametrize("ask", [ask_by_signal, ask_by_file])
def test_sigterm_saves_at_the_next_step_and_ends_with_an_error_code(tmp_path, ask):
    whole, stopped = rl_job(tmp_path, "sdpo-ema", "whole"), rl_job(tmp_path, "sdpo-ema", "stopped")
    run(whole)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(SystemExit) as error:
        run(stopped, at_call(2, lambda: ask(stopped)))
    assert error.value.code == 143 and signal.getsignal(signal.SIGTERM) is before
    assert (stopped.resume / "checkpoint-6" / FILE_LIST).exists() and not stopped.output.exists()
    calls = []
    run(stopped, lambda responses, answers: calls.append(1) or tiny.coin_reward(responses, answers))
    assert len(calls) == STEPS - 3  # nothing that was saved is done again
    assert_same_outputs(whole, stopped)


def test_the_processes_of_a_stopped_run_leave_together(tmp_path, monkeypatch):
    """The first one that leaves makes the launcher end the others, and one may still be hashing its checkpoint."""
    events, commit, wait = [], CheckpointStore.commit, Accelerator.wait_for_everyone
    monkeypatch.setattr(
        CheckpointStore, "commit", lambda self, path: [commit(self, path), events.append("commit")]
    )
    monkeypatch.setattr(Accelerator, "wait_for_everyone", lambda self: [wait(self), events.append("wait")])
    job = rl_job(tmp_path, "grpo", "stopped")
    with pytest.raises(SystemExit):
        run(job, at_call(2, lambda: ask_by_file(job)))
    assert events[-2:] == ["commit", "wait"]


def test_a_finished_training_whose_outputs_were_lost_only_publishes_again(tmp_path):
    job = rl_job(tmp_path, "grpo", "run")
    run(job)
    before = pandas.read_parquet(job.output / "training.parquet")
    os.rename(job.output, tmp_path / "lost")
    run(job, at_call(0, kill))
    pandas.testing.assert_frame_equal(before, pandas.read_parquet(job.output / "training.parquet"))
    assert tiny.same_weights(
        tmp_path / "lost" / "checkpoints" / "step-5", job.output / "checkpoints" / "step-5"
    )


def test_only_the_last_two_checkpoints_are_kept_and_models_hold_no_optimizer(tmp_path):
    job = rl_job(tmp_path, "sdpo-ema", "run")
    run(job)
    assert {p.name for p in job.resume.glob("checkpoint-*")} == {"checkpoint-8", "checkpoint-10"}
    for step in (2, 4, 5):
        names = {p.name for p in (job.output / "checkpoints" / f"step-{step}").iterdir()}
        assert {"model.safetensors", "config.json", "tokenizer.json", "chat_template.jinja"} <= names
        assert not names & {
            "optimizer.pt",
            "trainer_state.json",
            "teacher.pt",
            "training_args.bin",
            "rng_state.pth",
        }
    progress = json.loads((job.resume / "progress.json").read_text())
    assert progress["step"] == progress["steps"] == STEPS and progress["eta"] == 0


def test_an_incomplete_checkpoint_never_counts(tmp_path):
    store = CheckpointStore(tmp_path, run="run", updates_per_step=2, exports=[4], updates=8)
    for updates in (2, 4):
        (tmp_path / f"checkpoint-{updates}").mkdir()
    write_file_list(tmp_path / "checkpoint-2")
    assert store.latest() == tmp_path / "checkpoint-2"
    assert not (tmp_path / "checkpoint-4").exists()
    delete_checkpoint(tmp_path / "checkpoint-2")
    assert store.latest() is None
