"""The job that trains a mini base; it fails, with the measurements, if the base fails its acceptance test."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from selfdistill.generation.imports import LOADING
from selfdistill.organism.pretraining import train_base
from selfdistill.records.task import Facts, Task, job
from selfdistill.study.jobs import BaseParams


def model_modules(params: Mapping[str, Any]) -> Sequence[str]:
    """Return the modules that loading the base for its acceptance test imports."""
    return LOADING["transformers"]


@job(late=model_modules)
def train_mini_base(task: Task) -> Facts:
    """Train a base from scratch and test it."""
    params = BaseParams.model_validate(task.params["job"])
    return train_base(params.spec, params.seed, Path(task.output.model), task.resume)
