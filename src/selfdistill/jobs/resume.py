"""The resume folder of a job: what a killed job left there is reused only by the same job on the same inputs."""

import json
import logging
import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from selfdistill.records.file_lists import content_hash
from selfdistill.records.files import slice_hash, write_text

logger = logging.getLogger(__name__)

RESUME_KEY = "job.json"
"""File of a resume folder that identifies its job; it is written before anything else."""


def resume_key(params: Mapping[str, Any], code: str | None, inputs: Iterable[str]) -> dict[str, Any]:
    """Return what the result of a job depends on: config slice, code, and the contents of its input files."""
    return {
        "config": slice_hash(params),
        "code": code,
        "inputs": {str(path): content_hash(Path(path)) for path in inputs},
    }


def claim_resume(resume: Path, key: Mapping[str, Any]) -> None:
    """Prepare the resume folder for the job with this key; delete what a job with another config, code or inputs left."""
    mark, text = resume / RESUME_KEY, json.dumps(key, indent=1, sort_keys=True) + "\n"
    if resume.exists() and (not mark.exists() or mark.read_text(encoding="utf-8") != text):
        logger.warning(
            "%s belongs to another config, code or inputs: deleted, the job starts from the beginning", resume
        )
        shutil.rmtree(resume)
    write_text(mark, text)
