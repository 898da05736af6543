"""Finished runs whose models were deleted after their evaluation are not trained again without being told to.

With `keep_checkpoints: false`, whatever makes Snakemake evaluate such a run anew (another benchmark, more samples, changed code of
generation or grading) makes it train the run first, which may take hundreds of GPU-hours.
"""

from collections.abc import Collection
from pathlib import Path
from typing import Any

from selfdistill.records.files import read_json, slice_hash
from selfdistill.study.methods import METHODS, TRAINING_RULES
from selfdistill.study.study import Study
from selfdistill.vocabulary.runs import Run

ALLOW = "--config retrain=yes"


class Retraining(RuntimeError):
    """Trainings that would repeat finished ones, one line each: run, what it took, and the rules that need its models."""


def check_retraining(study: Study, planned: Collection[Any]) -> None:
    """Raise Retraining if a planned job would train a finished run again, with the same settings, for its deleted models.

    planned: jobs that Snakemake will run.
    """
    if study.file.keep_checkpoints:
        return
    again = [job for job in planned if job.rule.name in TRAINING_RULES and is_repeated(job)]
    if again:
        lines = [f"  {described(study, job, planned)}" for job in again]
        head = (
            f"{study.path}: keep_checkpoints: false: the models of {len(again)} finished runs were deleted after their evaluation, and "
            "this call would train the runs again:"
        )
        advice = f"`snakemake -n` shows why. To train them again, add `{ALLOW}`; otherwise undo the change, or ask for other targets"
        raise Retraining("\n".join([head, *lines, advice]))


def is_repeated(job: Any) -> bool:
    """Return whether a training job has finished before with the same settings, and its models are gone."""
    manifest = Path(job.output.manifest)
    if Path(job.output.checkpoints).exists() or not manifest.exists():
        return False
    params = {name: value for name, value in job.params.items() if name != "code"}
    return read_json(manifest).get("config_sha256") == slice_hash(params)


def described(study: Study, job: Any, planned: Collection[Any]) -> str:
    """Return the run of a training job, the GPU-hours (or hours) of its last training, and the rules that need its models."""
    run = Run.from_fields(dict(job.wildcards.items()))
    gpus = study.resources_for(METHODS[run.method].stage).gpus
    hours = read_json(Path(job.output.manifest))["wall_seconds"] / 3600 * max(gpus, 1)
    needing = [other for other in planned if job.output.checkpoints in other.input]
    rules = ", ".join(
        f"{name} ({sum(other.rule.name == name for other in needing)} jobs)"
        for name in dict.fromkeys(other.rule.name for other in needing)
    )
    unit = "GPU-hours" if gpus else "hours"
    return (
        f"{run}: {job.rule.name} took {hours:.1f} {unit}; its models are needed by {rules or 'the targets'}"
    )
