"""What every script of workflow/scripts shares: threads, log, GPUs, lock, the manifest at the end.

`run_job(snakemake, main)` is the whole of a script's surroundings; `main(snakemake, job)` reads the inputs,
calls the library and writes the outputs, and may return facts for the manifest (such as tokens). It imports
the library itself, in `with job.importing():`, after the number of threads is set.
"""

import importlib
import json
import logging
import os
import platform
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.jobs.allocation import built_for_gpus, check_allocation
from selfdistill.jobs.locks import job_lock, lock_of
from selfdistill.jobs.manifest import device_name, git_commit, package_versions, peak_memory_mb
from selfdistill.jobs.timing import ImportClock, importing
from selfdistill.jobs.warm.client import Before, before_job, hand_over
from selfdistill.records.files import slice_hash, write_text

if TYPE_CHECKING:
    from selfdistill.records.parts import Parts

logger = logging.getLogger("selfdistill.jobs.run_job")

LATE = {
    "transformers": (
        "selfdistill.generation.transformers_backend",
        "transformers.models.auto.modeling_auto",
        "transformers.modeling_utils",
    ),
    "vllm": ("selfdistill.generation.vllm_backend",),
}
"""What a backend imports when it loads a model; a job that surely loads one asks for it at its head (Job.importing)."""
_ALWAYS = ("snakemake.iocontainers", "snakemake.logging")
_TRAINING = (*_ALWAYS, *LATE["transformers"], "selfdistill.training.distributed.launch")
WARM = {
    "drawing": (
        *_ALWAYS,
        "matplotlib.backends.backend_agg",
        "seaborn",
        "selfdistill.report.figures",
        "selfdistill.report.loading",
    ),
    "generation": (
        *_ALWAYS,
        *LATE["transformers"],
        "selfdistill.sampling.evaluation",
        "selfdistill.sampling.contexts",
        "pyarrow.parquet",
    ),
    "base": (*_ALWAYS, *LATE["transformers"], "selfdistill.organism.pretraining"),
    "sft": (*_TRAINING, "selfdistill.training.sft"),
    "grpo": (*_TRAINING, "selfdistill.training.grpo"),
    "sdpo": (*_TRAINING, "selfdistill.training.sdpo"),
}
"""What the warm process imports before it forks a job of each kind. What is missing here the job imports itself."""
RESUME_KEY = "job.json"
"""File of a resume folder that says of which job it is; it is written before anything else."""
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True)
class Job:
    """The running job: the folder that it resumes from, and when it began."""

    resume: Path
    started: float

    def importing(self, *modules: str) -> AbstractContextManager[None]:
        """For the imports at the head of `main` (timing.importing); `modules` are what the library imports late."""
        return importing(*modules)

    @property
    def parts(self) -> "Parts":
        """Frames that the job keeps as they are finished."""
        from selfdistill.records.parts import Parts

        return Parts(self.resume / "parts")

    def progress(self, done: int, total: int) -> None:
        """Write <resume>/progress.json for `make status`: `done` parts of `total`."""
        from selfdistill.training.progress import write_progress

        write_progress(self.resume, step=done, steps=total, seconds=time.monotonic() - self.started)


def run_job(
    snakemake: Any, main: Callable[[Any, Job], Mapping[str, Any] | None], warm: str | None = None
) -> None:
    """Run `main` with its threads limited, output in the rule's log, and a manifest written last.

    warm: what the job imports (WARM), if a child of the warm process may run it (selfdistill.jobs.warm.client); this process then only waits.
    Where another process (left over from a killed Snakemake) is at work on the same output, wait for it; if
    it finished with the same config and code, there is nothing left to do. The resume folder is deleted after
    success, never before. A job that sees other GPUs than it asked for ends before all this.
    """
    alone = warm and snakemake.resources.get("processes", 1) == 1
    refused = hand_over(WARM[warm], snakemake.threads) if alone else None
    set_threads(snakemake.threads)
    redirect_output(Path(snakemake.log[0]))
    check_allocation(snakemake.rule, snakemake.resources.get("gpu", 0))
    resume = Path(snakemake.params.resume)
    with job_lock(lock_of(resume)) as waited:
        params = {key: value for key, value in snakemake.params.items() if key != "resume"}
        code = params.pop("code", None)
        log_header(snakemake.rule, params, code)
        if refused:
            logger.info("not run by the warm process: %s", refused)
        if waited and is_finished(snakemake.output, params, code):
            logger.info("the other process finished this job")
            return
        claim_resume(resume, resume_key(params, code, snakemake.input))
        job, clock, begun = Job(resume, time.monotonic()), ImportClock(), (time.time(), time.process_time())
        try:
            with clock.running():
                facts = main(snakemake, job)
        except Exception:
            logger.error("%s failed; it continues from %s on the next call", snakemake.rule, resume)
            raise
        manifest = describe_job(snakemake, params, code, time.monotonic() - job.started, facts or {})
        manifest["times"] = describe_times(begun, clock, before_job())
        write_text(snakemake.output.manifest, json.dumps(manifest, indent=1, default=str) + "\n")
        shutil.rmtree(resume, ignore_errors=True)
        logger.info("done in %.0f s", manifest["wall_seconds"])


def describe_times(begun: tuple[float, float], clock: ImportClock, before: Before) -> dict[str, Any]:
    """When the process and its main function began and when it ended (seconds of the epoch), and the seconds of its imports.

    `cpu_seconds` are this process's own, which other programs on the machine do not lengthen. begun: time.time() and
    time.process_time() when the main function began. A child of the warm process began with its script, whose processor time is
    start-up; imports that it made the server do count as its own, as the beginning of its main function.
    """
    spent = {
        "start-up": before.cpu_seconds + begun[1],
        "imports": before.import_cpu_seconds + clock.cpu_seconds,
        "compute": time.process_time() - begun[1] - clock.cpu_seconds,
    }
    return {
        "process_began": round(before.began, 2),
        "main_began": round(begun[0] - before.import_seconds, 2),
        "ended": round(time.time(), 2),
        "import_seconds": round(before.import_seconds + clock.seconds, 3),
        "cpu_seconds": {name: round(seconds, 3) for name, seconds in spent.items()},
    }


def resume_key(params: Mapping[str, Any], code: str | None, inputs: Iterable[str]) -> dict[str, Any]:
    """What a job's result depends on: config slice, code, and its input files by time and size."""
    return {
        "config": slice_hash(params),
        "code": code,
        "inputs": {str(path): input_state(Path(path)) for path in inputs},
    }


def input_state(path: Path) -> list[int]:
    """When an input was made (seconds) and its size; of a folder, the time stamp that Snakemake puts there."""
    stamp = path / ".snakemake_timestamp"
    status = (stamp if stamp.exists() else path).stat()
    return [int(status.st_mtime), status.st_size if path.is_file() else 0]


def claim_resume(resume: Path, key: Mapping[str, Any]) -> None:
    """Have the resume folder of a job with this key; what a job with another config, code or inputs left there is deleted."""
    mark, text = resume / RESUME_KEY, json.dumps(key, indent=1, sort_keys=True) + "\n"
    if resume.exists() and (not mark.exists() or mark.read_text(encoding="utf-8") != text):
        logger.warning("%s is of another config, code or inputs: deleted, the job begins afresh", resume)
        shutil.rmtree(resume)
    write_text(mark, text)


def set_threads(threads: int) -> None:
    """Limit the threads of numerical libraries; must come before they are imported."""
    for name in THREAD_VARIABLES:
        os.environ[name] = str(threads)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    os.environ["MPLBACKEND"] = "Agg"


def redirect_output(log: Path) -> None:
    """Send logging, standard output and standard error (of child processes too) to the rule's log."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", encoding="utf-8") as handle:
        os.dup2(handle.fileno(), sys.stdout.fileno())
        os.dup2(handle.fileno(), sys.stderr.fileno())
    sys.stdout.reconfigure(line_buffering=True)
    logging.basicConfig(
        level=logging.INFO,
        stream=sys.stderr,
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        force=True,
    )
    for name in ("httpx", "matplotlib", "urllib3"):
        logging.getLogger(name).setLevel(logging.WARNING)


def log_header(rule: str, params: Mapping[str, Any], code: str | None) -> None:
    """First lines of every log: what runs, on which commit, config, code and versions."""
    logger.info("%s, commit %s, config %s, code %s", rule, git_commit(), slice_hash(params), code)
    logger.info(
        "python %s, %s",
        platform.python_version(),
        ", ".join(f"{k} {v}" for k, v in package_versions().items()),
    )


def describe_job(
    snakemake: Any, params: Mapping[str, Any], code: str | None, seconds: float, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """The manifest: all that is needed to know how the outputs beside it were made."""
    return {
        "rule": snakemake.rule,
        "outputs": [str(path) for path in snakemake.output],
        "inputs": [str(path) for path in snakemake.input],
        "config": dict(params),
        "config_sha256": slice_hash(params),
        "code_sha256": code,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "device": device_name(),
        "threads": snakemake.threads,
        "wall_seconds": round(seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
        "tokens": facts.get("tokens"),
        "facts": {key: value for key, value in facts.items() if key != "tokens"},
    }


def is_finished(output: Any, params: Mapping[str, Any], code: str | None) -> bool:
    """Whether all outputs are there and the manifest tells of this config and code."""
    manifest = Path(output.manifest)
    if not all(Path(path).exists() for path in output):
        return False
    written = json.loads(manifest.read_text(encoding="utf-8"))
    return (written["config_sha256"], written["code_sha256"]) == (slice_hash(params), code)


def train_run(snakemake: Any, job: Job) -> dict[str, Any]:
    """Train the run of a training rule, on as many processes as its resources say.

    Facts for the manifest.
    """
    run, processes = snakemake.params.job["run"], snakemake.resources.get("processes", 1)
    # beside several processes this one only waits: it needs no model
    late = (*LATE["transformers"], f"selfdistill.training.{run['method']}") if processes == 1 else ()
    with job.importing(*late):
        from selfdistill.records.files import read_table
        from selfdistill.records.schemas import training_schema
        from selfdistill.study.training import METHOD_SETTINGS
        from selfdistill.training.distributed.launch import launch, train
        from selfdistill.training.job import TrainingJob
        from selfdistill.vocabulary.runs import Run

    params, run = snakemake.params.job, Run(**run)
    training = TrainingJob(
        run=run,
        base=Path(snakemake.input.base),
        data=Path(snakemake.input.data),
        output=Path(snakemake.output.training).parent,
        resume=job.resume,
        settings=METHOD_SETTINGS[run.method].model_validate(params["settings"]),
        template=params["template"],
        thinking=params["thinking"],
        seed=run.seed,
    )
    if processes > 1:
        on_gpus = snakemake.resources.get("gpu") and built_for_gpus()
        config = Path(snakemake.resources.accelerate) if on_gpus else None
        set_threads(max(snakemake.threads // processes, 1))  # of each
        launch(training, processes, config)
        importlib.import_module("torch")  # the manifest asks it for the device
    else:
        train(training)
    record = read_table(snakemake.output.training, training_schema(), ["tokens"])
    return {"tokens": int(record["tokens"].iloc[-1]), "steps": len(record), "processes": processes}


def evaluate_checkpoints(snakemake: Any, job: Job, checkpoints: Mapping[int, Path]) -> dict[str, Any]:
    """Write the samples of an evaluation rule: `checkpoints` (step -> model folder) on its benchmarks."""
    with job.importing(*LATE[snakemake.params.evaluation["backend"]]):
        from selfdistill.generation.protocol import Sampling
        from selfdistill.problems.problem import read_problems
        from selfdistill.records.files import write_table
        from selfdistill.records.schemas import samples_schema
        from selfdistill.sampling.evaluation import evaluate_run

    params = dict(snakemake.params.evaluation)
    names = params.pop("benchmarks")
    params["sampling"] = Sampling(**params["sampling"])
    benchmarks = {
        name: read_problems(path) for name, path in zip(names, snakemake.input.benchmarks, strict=True)
    }
    seed = params["fields"]["seed"]
    frame = evaluate_run(checkpoints, benchmarks, seed=seed, progress=job.progress, parts=job.parts, **params)
    write_table(snakemake.output.samples, frame, samples_schema())
    return {"tokens": int(frame["response_tokens"].sum())}
