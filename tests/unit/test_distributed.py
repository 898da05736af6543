"""Two processes on CPUs (torchrun, gloo), started as a training job starts them: the course of a run is that of one
process, whether the weights are whole (DDP) or in shards (FSDP2), and a killed or stopped run goes on exactly.

Not tested here, for there is no GPU: accelerate's launcher, bfloat16 and NCCL; DeepSpeed; vLLM beside the trainer.
"""

import json
import multiprocessing
import os
import signal
import threading
import time
from pathlib import Path

import numpy
import pandas
import psutil
import pytest
import tiny
import torch
from accelerate.commands.launch import _validate_launch_command, launch_command_parser
from accelerate.utils.launch import prepare_multi_gpu_env
from test_resume import assert_same_outputs
from test_schedule import QUICK
from transformers import AutoModelForCausalLM

from selfdistill.records.file_lists import FILE_LIST
from selfdistill.records.resume import number_of
from selfdistill.training.distributed import launch
from selfdistill.training.distributed.exchange import deal
from selfdistill.training.distributed.nodes import command
from selfdistill.training.sdpo import METHOD_FILE, TEACHER_FILE

WORKER = (str(Path(__file__).with_name("distributed_worker.py")),)
STEPS = 5
SEED = 4
"""Of the jobs: one whose rollouts differ in length in every step, without which GRPO's first loss is zero."""
CREDIT = tiny.GRPO | tiny.SDPO | {"steps": STEPS}
# name: method, teacher, context, settings
KINDS = {
    "grpo": ("grpo", "none", "none", tiny.GRPO | {"steps": STEPS, "micro_batch": 2}),
    "sdpo-fixed": ("sdpo", "fixed", "solution", tiny.SDPO | {"steps": STEPS, "micro_batch": 2}),
    "grpo-tokens": ("grpo", "none", "none", tiny.GRPO | {"steps": STEPS, "micro_tokens": 60}),
    "sdpo-tokens": ("sdpo", "fixed", "solution", tiny.SDPO | {"steps": STEPS, "micro_tokens": 90}),
    "sdpo-ema": ("sdpo", "ema-0.2", "solution", tiny.SDPO | {"steps": STEPS}),
    "sdpo-other": ("sdpo", "fixed", "other-solution", tiny.SDPO | {"steps": STEPS}),
    "schedule": (
        "sdpo-schedule",
        "ema-0.2",
        "solution",
        tiny.SDPO | QUICK | {"steps": STEPS, "micro_batch": 2},
    ),
    "positions": (
        "sdpo-positions",
        "fixed",
        "solution",
        tiny.SDPO | {"steps": STEPS, "micro_batch": 2, "at": ["opener", "high-entropy"]},
    ),
    "rlcsd": ("rlcsd", "snapshot-2", "solution", CREDIT | {"micro_batch": 2, "wrong_hints": 2}),
    "srpo-tokens": ("srpo", "fixed", "solution", CREDIT | {"micro_tokens": 90}),
    "purified": (
        "purified",
        "fixed",
        "solution",
        tiny.SDPO | {"steps": STEPS, "micro_batch": 2, "top_k": None},
    ),
    "adopsd-tokens": ("adopsd", "fixed", "solution", tiny.SDPO | {"steps": STEPS, "micro_tokens": 90}),
    "sft": ("sft", "none", "solution", tiny.SFT | {"micro_batch": 2}),
}
WRAPPERS = {"ddp": {"terminate_at": 2}, "fsdp": {"fsdp": True, "kill_at": 3}}
BROKEN = {("ddp", "sdpo-ema"): 6, ("fsdp", "sdpo-ema"): 4, ("ddp", "schedule"): 6}
"""(wrapper, kind) of a run that is ended in between -> optimizer updates that are kept."""


def job_of(folder, kind: str, name: str):
    """A job; its data are made here where it is the first of its method."""
    method, teacher, context, settings = KINDS[kind]
    folder = folder / ("sft" if method == "sft" else "rl")
    folder.mkdir(exist_ok=True)
    if method == "sft" and not (folder / "responses.parquet").exists():
        tiny.save_responses(folder / "responses.parquet", 8)
    names = dict(name=f"{kind}-{name}", teacher=teacher, context=context)
    return tiny.job(folder, method, settings, seed=SEED, **names)


def on_two(jobs, worker=WORKER, **options) -> None:
    """Train jobs one after the other on two processes, with options of `distributed_worker`."""
    files = [str(launch.write_job(job)) for job in jobs]
    os.environ["TEST_OPTIONS"] = json.dumps(options | {"also": files[1:]})
    launch.launch(jobs[0], 2, None, worker)


@pytest.fixture(scope="module")
def courses(tmp_path_factory):
    """(process or wrapper, kind) -> finished job, and (wrapper, kind with `-broken`) -> one that was ended in between: killed
    in shards, with SIGTERM where the weights are whole.
    """
    folder = tmp_path_factory.mktemp("courses")
    found = {(name, kind): job_of(folder, kind, name) for name in ("one", *WRAPPERS) for kind in KINDS}
    for kind in KINDS:
        launch.train(found["one", kind], **({} if kind == "sft" else {"reward": tiny.coin_reward}))
    for name, kind in BROKEN:
        found[name, f"{kind}-broken"] = job_of(folder, kind, f"{name}-broken")
        jobs = [job for key, job in found.items() if key[0] == name and not job.resume.exists()]
        with pytest.raises(RuntimeError, match="training on 2 processes failed"):
            on_two(jobs, **WRAPPERS[name])
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
    names = sorted(folder.name for folder in (one.output / "checkpoints").glob("step-*"))
    assert names == sorted(folder.name for folder in (two.output / "checkpoints").glob("step-*"))
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


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_controller_of_a_schedule_takes_the_same_course_on_two_processes(courses, wrapper):
    one, two = (
        json.loads((courses[name, "schedule"].resume / f"checkpoint-{2 * STEPS}" / METHOD_FILE).read_text())
        for name in ("one", wrapper)
    )
    assert one == two and len(set(one["history"])) > 1


@pytest.mark.parametrize("wrapper", WRAPPERS)
def test_the_loss_of_every_class_of_tokens_is_summed_over_two_processes(courses, wrapper):
    one, two = (
        pandas.read_parquet(courses[name, "positions"].output / "positions.parquet")
        for name in ("one", wrapper)
    )
    assert one["tokens"].min() == 0 < one.groupby("token_class")["tokens"].sum().min()
    pandas.testing.assert_frame_equal(one, two, rtol=1e-3)


@pytest.mark.parametrize(("wrapper", "kind"), BROKEN)
def test_a_run_that_was_ended_in_between_ends_as_if_it_had_not_been(courses, wrapper, kind):
    """Killed in step 3 it goes on from step 2's checkpoint; told to stop in step 2 it ends that with one."""
    whole, job, updates = courses[wrapper, kind], courses[wrapper, f"{kind}-broken"], BROKEN[wrapper, kind]
    assert not job.output.exists()
    left = [number_of(folder) for folder in job.resume.glob("checkpoint-*") if (folder / FILE_LIST).exists()]
    assert max(left) == updates
    on_two([job], **{name: value for name, value in WRAPPERS[wrapper].items() if name == "fsdp"})
    assert_same_outputs(whole, job)


WAITING = """
import os, signal, sys, time
from pathlib import Path
folder = Path(sys.argv[-1]).parent
(folder / f"pid-{os.environ['RANK']}").write_text(str(os.getpid()))
if signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
    sys.exit(3)
from selfdistill.training.distributed.launch import become_worker
become_worker()
while not (folder / "STOP").exists():
    time.sleep(0.02)
sys.exit(143)
"""


def waiting_pids(job) -> list[int]:
    """The processes of a job whose worker is WAITING, once both have come up."""
    files = [job.resume / f"pid-{rank}" for rank in (0, 1)]
    for _ in range(3000):
        if all(file.exists() and file.read_text() for file in files):
            return [int(file.read_text()) for file in files]
        time.sleep(0.02)
    raise AssertionError("the processes did not come up")


@pytest.fixture
def waiting(tmp_path):
    """A job, and a worker that waits to be stopped."""
    worker = tmp_path / "waiting.py"
    worker.write_text(WAITING)
    return job_of(tmp_path, "grpo", "one"), (str(worker),)


def test_sigterm_to_the_job_tells_its_processes_by_a_file(waiting):
    job, worker = waiting
    job.resume.mkdir(parents=True)
    (job.resume / "STOP").touch()  # of an earlier call: no longer meant

    def stop() -> None:
        waiting_pids(job)
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.getsignal(signal.SIGTERM)
    threading.Thread(target=stop).start()
    with pytest.raises(SystemExit) as error:
        launch.launch(job, 2, None, worker)
    assert error.value.code == 143 and signal.getsignal(signal.SIGTERM) is before


def test_the_processes_end_with_the_job_however_it_ends(waiting):
    job, worker = waiting
    parent = multiprocessing.get_context("spawn").Process(target=launch.launch, args=(job, 2, None, worker))
    parent.start()
    pids = waiting_pids(job)
    parent.kill()
    parent.join()
    for _ in range(500):
        if not any(alive(pid) for pid in pids):
            return
        time.sleep(0.02)
    raise AssertionError("a process outlived its job")


def alive(pid: int) -> bool:
    """Whether a process is there and no zombie that nobody has waited for."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


@pytest.mark.parametrize("name", ["ddp", "fsdp", "zero3"])
def test_accelerate_takes_the_configurations(name):
    file = Path(__file__).parents[2] / "config" / "accelerate" / f"{name}.yaml"
    arguments = command(4, file, launch.WORKER)[3:]
    parsed, *_ = _validate_launch_command(launch_command_parser().parse_args(arguments))
    assert (parsed.use_fsdp, parsed.use_deepspeed) == (name == "fsdp", name == "zero3")
    assert (parsed.num_processes, parsed.mixed_precision, parsed.module) == (4, "bf16", True)
    assert parsed.training_script == "selfdistill.training.distributed.launch"
    if name == "fsdp":
        environment = prepare_multi_gpu_env(parsed)
        expected = {"VERSION": "2", "STATE_DICT_TYPE": "FULL_STATE_DICT", "RESHARD_AFTER_FORWARD": "true"}
        expected |= {"CPU_RAM_EFFICIENT_LOADING": "false", "AUTO_WRAP_POLICY": "TRANSFORMER_BASED_WRAP"}
        assert {key: environment[f"FSDP_{key}"] for key in expected} == expected
    if name == "zero3":
        assert (parsed.zero_stage, parsed.zero3_save_16bit_model) == (3, True)


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
