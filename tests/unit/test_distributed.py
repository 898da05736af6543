"""Two processes on CPUs (torchrun, gloo), started as a training job starts them: the course of a run is that of one
process, whether the weights are whole (DDP) or in shards (FSDP2), and a killed or stopped run goes on exactly.

Not tested here, for there is no GPU: accelerate's launcher, bfloat16 and NCCL; DeepSpeed; vLLM beside the trainer.
"""

import json
import os
from pathlib import Path

import numpy
import pandas
import pytest
import tiny
import torch
from test_resume import assert_same_outputs
from transformers import AutoModelForCausalLM

from selfdistill.training import launch
from selfdistill.training.exchange import deal
from selfdistill.training.resume import COMPLETE
from selfdistill.training.sdpo import TEACHER_FILE

WORKER = (str(Path(__file__).with_name("distributed_worker.py")),)
STEPS = 5
# name: method, teacher, context, settings
KINDS = {
    "grpo": ("grpo", "none", "none", tiny.GRPO | {"steps": STEPS, "micro_batch": 2}),
    "sdpo-fixed": ("sdpo", "fixed", "solution", tiny.SDPO | {"steps": STEPS, "micro_batch": 2}),
    "sdpo-ema": ("sdpo", "ema-0.2", "solution", tiny.SDPO | {"steps": STEPS}),
    "sdpo-other": ("sdpo", "fixed", "other-solution", tiny.SDPO | {"steps": STEPS}),
    "sft": ("sft", "none", "solution", tiny.SFT | {"micro_batch": 2}),
}
WRAPPERS = {"ddp": {}, "fsdp": {"fsdp": True}}


def job_of(folder, kind: str, name: str):
    """A job; its data are made here where it is the first of its method."""
    method, teacher, context, settings = KINDS[kind]
    folder = folder / ("sft" if method == "sft" else "rl")
    folder.mkdir(exist_ok=True)
    if method == "sft" and not (folder / "responses.parquet").exists():
        tiny.save_responses(folder / "responses.parquet", 8)
    return tiny.job(folder, method, settings, name=f"{kind}-{name}", teacher=teacher, context=context)


def on_two(jobs, **options) -> None:
    """Train jobs one after the other on two processes, with options of `distributed_worker`."""
    files = [str(launch.write_job(job)) for job in jobs]
    os.environ["TEST_OPTIONS"] = json.dumps(options | {"also": files[1:]})
    launch.launch(jobs[0], 2, None, 2, WORKER)


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """(processes or wrapper, kind) -> finished job."""
    folder = tmp_path_factory.mktemp("courses")
    found = {(name, kind): job_of(folder, kind, name) for name in ("one", *WRAPPERS) for kind in KINDS}
    for kind in KINDS:
        launch.train(found["one", kind], **({} if kind == "sft" else {"reward": tiny.coin_reward}))
    for name, options in WRAPPERS.items():
        on_two([found[name, kind] for kind in KINDS], **options)
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_two_processes_take_the_course_of_one(courses, wrapper, kind):
    one, two = courses["one", kind], courses[wrapper, kind]
    tables = [
        pandas.read_parquet(job.output / "training.parquet").drop(columns="seconds") for job in (one, two)
    ]
    assert tables[0]["loss"].abs().min() > 1e-5, "a loss of nothing would prove nothing"
    pandas.testing.assert_frame_equal(*tables, rtol=1e-3, atol=1e-6)
    if kind != "sft":
        rollouts = [pandas.read_parquet(job.output / "rollouts.parquet") for job in (one, two)]
        pandas.testing.assert_frame_equal(*rollouts, check_exact=True)
    names = sorted(folder.name for folder in (one.output / "checkpoints").iterdir())
    assert names == sorted(folder.name for folder in (two.output / "checkpoints").iterdir())
    for name in names:
        left, right = (job.output / "checkpoints" / name for job in (one, two))
        assert sorted(p.name for p in left.iterdir()) == sorted(p.name for p in right.iterdir())
        a, b = tiny.weights(left), tiny.weights(right)
        assert a.keys() == b.keys() and max(float((a[k] - b[k]).abs().max()) for k in a) < 1e-5
    AutoModelForCausalLM.from_pretrained(right)


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_a_checkpoint_holds_the_whole_moving_teacher(courses, wrapper):
    one, two = (
        torch.load(courses[name, "sdpo-ema"].resume / f"checkpoint-{2 * STEPS}" / TEACHER_FILE)
        for name in ("one", wrapper)
    )
    policy = tiny.weights(courses[wrapper, "sdpo-ema"].output / "checkpoints" / f"step-{STEPS}")
    assert one.keys() == two.keys() >= policy.keys()
    assert all(type(value) is torch.Tensor for value in two.values())
    assert max(float((one[name] - two[name]).abs().max()) for name in one) < 1e-5
    assert max(float((policy[name] - two[name]).abs().max()) for name in policy) > 1e-4


def test_a_killed_and_a_stopped_run_in_shards_ends_as_if_it_had_not_been(courses):
    whole = courses["fsdp", "sdpo-ema"]
    job = job_of(whole.output.parents[2], "sdpo-ema", "broken")
    with pytest.raises(RuntimeError, match="training on 2 processes failed"):
        on_two([job], fsdp=True, kill_at=3)
    assert not job.output.exists() and (job.resume / "checkpoint-4" / COMPLETE).exists()
    with pytest.raises(
        RuntimeError, match="exit code"
    ):  # a process alone was told to stop: both do, at one step
        on_two([job], fsdp=True, terminate_at=0)
    assert not job.output.exists() and (job.resume / "checkpoint-6" / COMPLETE).exists()
    on_two([job], fsdp=True)
    assert_same_outputs(whole, job)


def test_sigterm_to_the_job_stops_all_processes_after_the_step(courses):
    whole = courses["ddp", "grpo"]
    job = job_of(whole.output.parents[2], "grpo", "stopped")
    with pytest.raises(SystemExit) as error:
        on_two([job], terminate_at=1, terminate=os.getpid())
    assert error.value.code == 143 and not job.output.exists()
    assert (job.resume / "checkpoint-4" / COMPLETE).exists()
    on_two([job])
    assert_same_outputs(whole, job)


def test_a_job_survives_its_file(tmp_path):
    for kind in KINDS:
        job = job_of(tmp_path, kind, "one")
        assert launch.read_job(launch.write_job(job)) == job


def test_rows_are_dealt_out_by_length_within_their_mini_batch():
    used = torch.tensor([5, 1, 4, 2, 9, 0, 7, 3])
    order = torch.tensor([0, 1, 2, 3, 7, 6, 5, 4])
    shares = [deal(used, order, 2, process, 2).tolist() for process in (0, 1)]
    assert shares == [[1, 2, 5, 6], [3, 0, 7, 4]]
    assert numpy.array_equal(sorted(shares[0] + shares[1]), range(8))
