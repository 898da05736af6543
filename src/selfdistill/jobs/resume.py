"""The resume folder of a job: what a killed job left there is used only by the same job on the same inputs."""

import hashlib
import json
import logging
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from selfdistill.records.files import slice_hash, write_text

logger = logging.getLogger(__name__)

RESUME_KEY = "job.json"
"""File of a resume folder that says of which job it is; it is written before anything else."""
SAMPLED = 1 << 20
"""Bytes at the beginning and at the end of a large file that are hashed."""


def resume_key(params: Mapping[str, Any], code: str | None, inputs: Iterable[str]) -> dict[str, Any]:
    """Return what a job's result depends on: config slice, code, and its input files by content."""
    return {
        "config": slice_hash(params),
        "code": code,
        "inputs": {str(path): content_hash(Path(path)) for path in inputs},
    }


def content_hash(path: Path) -> str:
    """Return a hash of the names, sizes and contents below a path; of a large file only both ends are read."""
    digest = hashlib.blake2b(digest_size=16)
    for file in files_below(path):
        size = file.stat().st_size
        digest.update(f"{file.relative_to(path)} {size}\n".encode())
        with file.open("rb") as handle:
            digest.update(handle.read(SAMPLED))
            if size > 2 * SAMPLED:
                handle.seek(size - SAMPLED)
            digest.update(handle.read(SAMPLED))
    return digest.hexdigest()


def files_below(path: Path) -> Iterator[Path]:
    """Yield a file, or the files below a folder in the order of their names, without Snakemake's time stamp."""
    found = sorted(path.rglob("*")) if path.is_dir() else [path]
    return (file for file in found if file.is_file() and file.name != ".snakemake_timestamp")


def claim_resume(resume: Path, key: Mapping[str, Any]) -> None:
    """Take the resume folder for the job with this key; delete what a job with another config, code or inputs left."""
    mark, text = resume / RESUME_KEY, json.dumps(key, indent=1, sort_keys=True) + "\n"
    if resume.exists() and (not mark.exists() or mark.read_text(encoding="utf-8") != text):
        logger.warning("%s is of another config, code or inputs: deleted, the job begins afresh", resume)
        shutil.rmtree(resume)
    write_text(mark, text)
