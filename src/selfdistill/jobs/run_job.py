"""Runs a job: threads, log, GPUs, lock, resume folder, and the manifest at the end.

Each script of workflow/scripts is one call: `run_job(snakemake, "module:function")`. The function takes a Task
(records.task) and returns facts for the manifest.
"""

import json
import logging
import os
import pkgutil
import platform
import shutil
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from selfdistill.fast_cpu import enabled
from selfdistill.jobs.allocation import built_for_gpus, check_allocation
from selfdistill.jobs.attempts import check_failures, record_failure
from selfdistill.jobs.clock import date_back
from selfdistill.jobs.locks import job_lock, lock_of
from selfdistill.jobs.manifest import (
    device_name,
    git_commit,
    package_versions,
    peak_gpu_memory_mb,
    peak_memory_mb,
)
from selfdistill.jobs.resume import claim_resume, resume_key
from selfdistill.jobs.timing import importing
from selfdistill.jobs.warm.client import hand_over, script_began
from selfdistill.records.files import read_json, slice_hash, write_text
from selfdistill.records.paths import results_of, resume_of
from selfdistill.records.task import JobFunction, Task
from selfdistill.records.threads import thread_limits

logger = logging.getLogger("selfdistill.jobs.run_job")


def run_job(snakemake: Any, function: str) -> None:
    """Run the job `function` (`module:function`) of a rule and write its manifest last.

    The warm process, which has imported the slow packages, may run it (jobs.warm); this process then only waits. If another
    process, left over from a killed Snakemake, works on the same output, wait for it; if it finishes with the same config
    and code, nothing is left to do. The resume folder is deleted after success, never before. A job with other GPUs than
    it asked for fails before all this, one that failed twice in the same way before its work.
    """
    params = dict(snakemake.params.items())
    code = params.pop("code", None)
    resources = job_resources(snakemake)
    refused = hand_over(function, params, snakemake.threads) if resources["processes"] == 1 else None
    set_threads(snakemake.threads)
    redirect_output(Path(snakemake.log[0]))
    check_allocation(snakemake.rule, resources["gpus"] // resources["nodes"])
    task = Task(params, snakemake.input, snakemake.output, Path(resume_of(snakemake.output[0])), resources)
    results = results_of(snakemake.output[0])
    with job_lock(lock_of(task.resume)) as waited:
        log_header(snakemake.rule, params, code)
        if refused:
            logger.info("not run by the warm process: %s", refused)
        if waited and is_finished(snakemake.output, params, code):
            logger.info("the other process finished this job")
            return
        # otherwise, Snakemake would reject and delete the outputs at the end
        date_back(snakemake.input, results)
        claim_resume(task.resume, resume_key(params, code, snakemake.input))
        check_failures(task.resume, snakemake.resources.get("attempt", 1))
        finish(snakemake, task, code, function)
        date_back(snakemake.input, results)


def finish(snakemake: Any, task: Task, code: str | None, function: str) -> None:
    """Call the job function, write the manifest, and delete the resume folder."""
    try:
        call = load(function, task.params)
        began, cpu = time.time(), time.process_time()
        facts = call(task)
    except Exception as error:
        logger.error("%s failed; the next call resumes from %s", snakemake.rule, task.resume)
        record_failure(task.resume, error)
        raise
    manifest = describe_job(snakemake, task.params, code, time.monotonic() - task.started, facts or {})
    manifest["times"] = {
        "process_began": round(script_began(), 2),
        "main_began": round(began, 2),
        "ended": round(time.time(), 2),
        "cpu_seconds": round(time.process_time() - cpu, 3),
    }
    write_text(snakemake.output.manifest, json.dumps(manifest, indent=1, default=str) + "\n")
    shutil.rmtree(task.resume, ignore_errors=True)
    logger.info("done in %.0f s", manifest["wall_seconds"])


def load(function: str, params: Mapping[str, Any]) -> JobFunction:
    """Return a job function after importing all modules that it will need."""
    with importing():
        call = pkgutil.resolve_name(function)
        for module in call.late(params):
            pkgutil.resolve_name(module)
    return call


def job_resources(snakemake: Any) -> dict[str, Any]:
    """Return threads (per node), GPUs, nodes, processes, the accelerate configuration of several processes on GPUs (None on
    CPUs), the steps between further checkpoints, and the folder of a base that is not fetched.
    """
    asked = snakemake.resources
    on_gpus = asked.get("gpu", 0) and asked.get("processes", 1) > 1 and built_for_gpus()
    accelerate = Path(asked.accelerate) if on_gpus else None
    return {
        "threads": snakemake.threads,
        "gpus": asked.get("gpu", 0),
        "nodes": asked.get("nodes", 1),
        "processes": asked.get("processes", 1),
        "accelerate": accelerate,
        "resume_every": asked.get("resume_every", 0),
        "path": asked.get("path", ""),
    }


def set_threads(threads: int) -> None:
    """Set the number of threads of the numerical libraries; call this before they are imported."""
    os.environ.update(thread_limits(threads), MPLBACKEND="Agg")


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
    """Write the first lines of the log: rule, commit, config, code and versions."""
    logger.info("%s, commit %s, config %s, code %s", rule, git_commit(), slice_hash(params), code)
    logger.info(
        "python %s, %s",
        platform.python_version(),
        ", ".join(f"{k} {v}" for k, v in package_versions().items()),
    )


def describe_job(
    snakemake: Any, params: Mapping[str, Any], code: str | None, seconds: float, facts: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the manifest, which records how the outputs beside it were made."""
    return {
        "rule": snakemake.rule,
        "outputs": [str(path) for path in snakemake.output],
        "sizes": {str(path): os.path.getsize(path) for path in snakemake.output if os.path.isfile(path)},
        "inputs": [str(path) for path in snakemake.input],
        "config": dict(params),
        "config_sha256": slice_hash(params),
        "code_sha256": code,
        "git_commit": git_commit(),
        "python": platform.python_version(),
        "packages": package_versions(),
        "device": device_name(),
        "fast_cpu": enabled(),
        "threads": snakemake.threads,
        "wall_seconds": round(seconds, 1),
        "peak_memory_mb": peak_memory_mb(),
        "peak_gpu_memory_mb": peak_gpu_memory_mb(),
        "tokens": facts.get("tokens"),
        "facts": {key: value for key, value in facts.items() if key != "tokens"},
    }


def is_finished(output: Any, params: Mapping[str, Any], code: str | None) -> bool:
    """Return whether all outputs exist and the manifest records this config and code."""
    manifest = Path(output.manifest)
    if not all(Path(path).exists() for path in output):
        return False
    written = read_json(manifest)
    return (written["config_sha256"], written["code_sha256"]) == (slice_hash(params), code)
