"""A reduced mini study through a real Slurm of one node (`make test-slurm`), with trainings that are killed in between.

The GRPO run is cancelled, told to stop, and requeued as after a preemption; the SDPO run gets the signal that the profile
asks for before the time limit, and then runs into a time limit without one. The results must be those of the same study
run locally without an interruption, bit for bit.
"""

import json
import re
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import pytest
import yaml
from workflow.conftest import Workspace, assert_same_results, copy_workflow

RESULTS = "results/reduced"
GRPO = "runs/r1-test/grpo/none/none/chain/full/default/replicate-0/seed-0"
SDPO = "runs/r1-test/sdpo/solution/fixed/chain/full/default/replicate-0/seed-0"
LIMIT = 1800  # seconds for the whole study through Slurm, on a busy machine
GPUS = 2
STEPS = {GRPO: 80, SDPO: 240}
STEP = 0.3  # seconds that a step takes longer through Slurm, for it looks at time limits every 30 s only
LAST_STEP = 12  # seconds that the step takes in which a training gets SIGTERM: Slurm must let it end
QUICK = (
    "--slurm-init-seconds-before-status-checks=2",
    "--seconds-between-status-checks=2",
    "--latency-wait=10",
    "--slurm-keep-successful-logs",
    "--resources=small_jobs=2",  # the test's node has no more cores
)


def slurm(*command: str) -> str:
    """What a command of Slurm prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def write_reduced_study(study: Workspace) -> None:
    """config/reduced.yaml: one SFT, GRPO and SDPO run of config/test.yaml, the last two on GPUs and long enough to be killed.

    Checkpoints are due so rarely that what a killed run goes on from is the one that it wrote at the signal.
    """
    content = yaml.safe_load((study.root / "config/test.yaml").read_text())
    content["study"] = "reduced"
    content["training"]["grpo"] |= {"steps": STEPS[GRPO], "checkpoint_every": STEPS[GRPO] // 2}
    content["training"]["sdpo"] |= {"steps": STEPS[SDPO], "checkpoint_every": STEPS[SDPO] // 2}
    content["off_policy"]["contexts"] = ["solution"]
    content["runs"] = [
        {"experiment": "off-policy", "models": ["r1-test"], "method": "sft", "contexts": ["solution"], "dataset": "chain"},
        {"experiment": "on-policy", "models": ["r1-test"], "method": "grpo", "dataset": "chain"},
        {"experiment": "on-policy", "models": ["r1-test"], "method": "sdpo", "contexts": ["solution"], "teachers": ["fixed"],
         "dataset": "chain"},
    ]  # fmt: skip
    content["figures"] = {"figure3": ["on-policy"], "figure3-all": ["on-policy"]}
    content["tables"] = {"table1": [], "main-results": []}
    del content["benchmarks"]["interventions"]  # of a table that is not declared
    content["resources"] = {"rl": {"gpus": GPUS, "accelerate": "ddp", "mem_mb": 3000, "runtime": 60}}
    (study.root / "config/reduced.yaml").write_text(yaml.safe_dump(content))


def make_harder(study: Workspace) -> None:
    """Give the trainings of a copy the steps of a larger model, and its scripts a shell that does not become them, as an
    older bash would not.
    """
    study.edit("rules/common.smk", "shell.prefix(", 'shell.suffix("; exit $?")\nshell.prefix(')
    module = "src/selfdistill/training/checkpoints.py"
    study.edit(module, "import signal\n", "import signal\nimport time\n")
    study.edit(module, "self.requested = True\n", f"self.requested = True\n        time.sleep({LAST_STEP})\n")
    study.edit(
        module,
        "        if state.global_step % self.updates_per_step == 0:\n",
        f"        if state.global_step % self.updates_per_step == 0:\n            time.sleep({STEP})\n",
    )


def through_slurm(*arguments: str) -> tuple[str, ...]:
    """Arguments of Snakemake for the reduced study on the test's cluster."""
    return (*arguments, "--profile", "slurm", *QUICK, "--config", "study=reduced")


@dataclass
class Job:
    """A job of Slurm as `squeue` tells of it."""

    number: str
    state: str
    comment: str
    partition: str


def jobs(rule: str = "") -> list[Job]:
    """All jobs whose comment, which the executor plugin writes, names `rule`; the oldest first."""
    lines = slurm("squeue", "--states=all", "--noheader", "--sort=i", "--format=%i|%T|%k|%P").splitlines()
    found = [Job(*(part.strip() for part in line.split("|"))) for line in lines]
    return [job for job in found if job.comment.startswith(f"rule_{rule}")]


@dataclass
class Killer:
    """Kills the jobs of one training, one after the other, each in the middle of its work."""

    study: Workspace
    run: str
    rule: str
    kills: list[str]
    done: list[dict] = field(default_factory=list)
    logs: dict[str, str] = field(
        default_factory=dict
    )  # the log of every attempt; Snakemake deletes that of the last one
    _start: tuple[str, str] = (
        "",
        "",
    )  # the start of a job that is looked at: its number and how often it was requeued
    _first: int = 0  # the last step before it

    def step(self) -> int:
        """The last step that the training wrote down."""
        progress = self.study.root / RESULTS / "resume" / self.run / "checkpoints/progress.json"
        try:
            return json.loads(progress.read_text())["step"]
        except (FileNotFoundError, ValueError):
            return 0

    def read_log(self) -> None:
        """Keep what the training's log tells of the attempt that it begins with."""
        log = self.study.root / "logs/reduced" / self.rule / self.run / "checkpoints.log"
        text = log.read_text(encoding="utf-8") if log.exists() else ""
        if "\n" in text:
            self.logs[text[:23]] = text  # the time of its first line

    def attempts(self) -> list[tuple[int, int]]:
        """(first step, last step) of every attempt that did a step."""
        steps = [re.findall(r"progress(?: \[0\])?: step (\d+) of", text) for text in self.logs.values()]
        return [(int(found[0]), int(found[-1])) for found in steps if found]

    def look(self) -> None:
        """Kill the running job once if it has done ten steps."""
        self.read_log()
        wildcards = (
            self.run.removeprefix("runs/")
            .replace("/replicate-", "/")
            .replace("/seed-", "/")
            .replace("/", "_")
        )
        running = [job for job in jobs(f"{self.rule}_wildcards_{wildcards}") if job.state == "RUNNING"]
        if len(self.done) == len(self.kills) or not running:
            return
        number, step = running[-1].number, self.step()
        start = number, re.search(r"Restarts=(\d+)", slurm("scontrol", "show", "job", number))[1]
        if start != self._start:
            self._start, self._first = start, step
        if step < self._first + 10 or (self.done and self.done[-1]["start"] == start):
            return
        how = self.kills[len(self.done)]
        getattr(self, how)(number)
        self.done.append({"how": how, "job": number, "start": start, "step": step})

    def cancel(self, number: str) -> None:
        """`scancel`: SIGTERM, and SIGKILL after KillWait."""
        slurm("scancel", number)

    def signal(self, number: str) -> None:
        """`scancel --signal`: SIGTERM to the job's step, and nothing after it."""
        slurm("scancel", "--signal=TERM", number)

    def requeue(self, number: str) -> None:
        """What Slurm does with a job that it preempts."""
        slurm("scontrol", "requeue", number)

    def signal_before_time_limit(self, number: str) -> None:
        """Move the time limit to where the signal that the profile asks for is due."""
        self.end(number, seconds=1200)

    def time_limit(self, number: str) -> None:
        """Move the time limit to now."""
        self.end(number, seconds=1)

    def end(self, number: str, seconds: int) -> None:
        at = datetime.now() + timedelta(seconds=seconds)
        slurm("scontrol", "update", f"JobId={number}", f"EndTime={at:%Y-%m-%dT%H:%M:%S}")


@dataclass
class Outcome:
    """The reduced study run locally and through Slurm."""

    local: Workspace
    slurm: Workspace
    output: str
    jobs: list[Job]
    killers: dict[str, Killer]


@pytest.fixture(scope="module")
def outcome(tmp_path_factory) -> Outcome:
    """Run the reduced study locally, and through Slurm with its trainings killed on the way."""
    root = tmp_path_factory.mktemp("slurm")
    local, cluster = copy_workflow(root / "local"), copy_workflow(root / "cluster")
    for study in (local, cluster):
        write_reduced_study(study)
    make_harder(cluster)
    started = time.monotonic()
    local.snakemake("--config", "study=reduced", environment={"CUDA_VISIBLE_DEVICES": "0,1"})
    print(f"locally: {time.monotonic() - started:.0f} s")
    killers = {
        GRPO: Killer(cluster, GRPO, "train_on_policy", ["cancel", "signal", "requeue"]),
        SDPO: Killer(cluster, SDPO, "train_on_policy", ["signal_before_time_limit", "time_limit"]),
    }
    started = time.monotonic()
    process = cluster.start(
        *through_slurm(), environment={"SELFDISTILL_PARTITION": "cpu", "SELFDISTILL_GPU_PARTITION": "gpu"}
    )
    try:
        while process.poll() is None and time.monotonic() - started < LIMIT:
            for killer in killers.values():
                killer.look()
            time.sleep(0.3)
        for killer in killers.values():
            killer.read_log()
        output = (cluster.root / "snakemake.log").read_text()
        assert process.poll() == 0, output + slurm("squeue", "--states=all")
    finally:
        process.terminate()
        process.wait()
    print(f"through Slurm: {time.monotonic() - started:.0f} s")
    return Outcome(local, cluster, output, jobs(), killers)


def state_of(outcome: Outcome, number: str) -> str:
    """The last state of a job."""
    (job,) = [job for job in outcome.jobs if job.number == number]
    return job.state


@pytest.mark.parametrize("run", [GRPO, SDPO])
def test_every_kill_hit_the_training_and_lost_no_step(outcome, run):
    """The attempts follow each other without a gap and without a step done twice."""
    killer = outcome.killers[run]
    assert len(killer.done) == len(killer.kills), killer.done
    found = killer.attempts()
    print(run, killer.done, found)
    assert len(found) == len(killer.kills) + 1
    assert found[0][0] == 1
    for kill, before, after in zip(killer.done, found, found[1:], strict=False):
        assert before[1] >= kill["step"]
        assert after[0] == before[1] + 1, (
            "the next attempt goes on from the checkpoint that the signal asked for"
        )
    assert found[-1][1] == STEPS[run]
    assert sum("stopped by SIGTERM" in text for text in killer.logs.values()) == len(killer.kills)


def test_slurm_ended_the_jobs_as_was_asked(outcome):
    cancelled, signalled, requeued = outcome.killers[GRPO].done
    warned, limited = outcome.killers[SDPO].done
    assert state_of(outcome, cancelled["job"]) == "CANCELLED"
    assert state_of(outcome, signalled["job"]) == "FAILED"
    assert state_of(outcome, requeued["job"]) == "COMPLETED", "a requeued job goes on under its own number"
    assert state_of(outcome, signalled["job"]) == "FAILED", (
        "the training ended by itself, before the time limit"
    )
    assert state_of(outcome, limited["job"]) == "TIMEOUT"


def test_results_are_bit_identical_to_the_local_run(outcome):
    """Weights, samples, off-policy data and all numbers; the training records and figures but for what a clock measured."""
    names = assert_same_results(*(study.root / RESULTS for study in (outcome.local, outcome.slurm)))
    assert len([name for name in names if name.endswith(".safetensors")]) >= 6


def test_partitions_come_from_the_environment_and_small_jobs_share_an_allocation(outcome):
    assert {job.partition for job in jobs("train_on_policy") + jobs("evaluate")} == {"gpu"}
    assert {job.partition for job in jobs("train_base") + jobs("make_report")} == {"cpu"}
    assert len(jobs("problems_")) == 1
    assert len(jobs("displays_")) == 1
    for rule in ("build_problems", "plot_figure", "write_table"):
        assert not jobs(rule), "this rule's jobs run in a group"
    for killer in outcome.killers.values():
        for text in killer.logs.values():
            assert re.search(r"2 GPUs \(CUDA_VISIBLE_DEVICES is '\d,\d'", text)


def test_a_job_with_other_gpus_than_asked_for_ends_at_once(outcome, tmp_path):
    """The resource `gpus` is what the executor plugin gives to the job step, beside `gpu` of the allocation."""
    study = Workspace(tmp_path / "study")
    shutil.copytree(outcome.slurm.root, study.root, symlinks=True)
    shutil.rmtree(study.root / "logs")
    shutil.rmtree(study.root / RESULTS / GRPO)
    output = study.snakemake(
        *through_slurm(
            f"{RESULTS}/{GRPO}/training.parquet",
            "--retries=0",
            "--set-resources",
            f"train_on_policy:gpus={GPUS - 1}",
        ),
        fails=True,
    )
    assert f"train_on_policy: asked for {GPUS} GPUs, sees {GPUS - 1} (CUDA_VISIBLE_DEVICES is" in output
    assert not (study.root / RESULTS / "resume" / GRPO / "training").exists()


def test_a_job_that_slurm_starts_as_several_tasks_ends_at_once(outcome):
    code = "from selfdistill.jobs.allocation import check_allocation; check_allocation('train_sft', 0)"
    for tasks in (1, 2):
        done = subprocess.run(
            ["srun", f"--ntasks={tasks}", "--overcommit", sys.executable, "-c", code],
            env=outcome.slurm.environment,
            capture_output=True,
            text=True,
        )
        assert (done.returncode == 0) == (tasks == 1), done.stderr
    assert "train_sft: Slurm started this job as 2 tasks" in done.stderr
