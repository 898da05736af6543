"""The job that trains a mini base; it fails, with the measurements, if the base fails its acceptance test."""

from pathlib import Path

from selfdistill.generation.imports import transformers_modules
from selfdistill.organism.pretraining import train_base
from selfdistill.records.task import Facts, Task, job
from selfdistill.study.jobs import BaseParams


@job(late=transformers_modules)
def train_mini_base(task: Task) -> Facts:
    """Train a base from scratch and test it."""
    params = BaseParams.model_validate(task.params["job"])
    return train_base(params.spec, params.seed, Path(task.output.model), task.resume)
