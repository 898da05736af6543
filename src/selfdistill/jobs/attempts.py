"""Retries that would fail as before: a job that died twice of the same error without getting further is not tried again.

On a cluster Snakemake submits a failed job again (`retries` of its profile), because a time limit or a lost node is no fault of the
job. A failure is remembered within one call of Snakemake only: its first attempt forgets those of the last call.
"""

import json
import re
from contextlib import suppress
from pathlib import Path

from selfdistill.records.files import Damaged, read_json, write_text
from selfdistill.records.progress import PROGRESS

FAILURES = "failures.json"
"""File of a resume folder with the failures of this call: for each, its error, and what the folder held."""
LIMIT = 2
"""Number of equal failures after which a job is not tried again."""
NO_PROGRESS = (FAILURES, PROGRESS)
REWRITTEN = (".parquet", ".json")
"""Files that are the same when they are written again, but for what a clock measured."""


class NoProgress(RuntimeError):
    """The last attempts of a job died of the same error without getting further."""


def check_failures(resume: Path, attempt: int) -> None:
    """Raise NoProgress if the last two attempts at the job of a resume folder failed as the next one would.

    attempt: its number in this call of Snakemake; the first forgets earlier failures.
    """
    if attempt == 1:
        (resume / FAILURES).unlink(missing_ok=True)
        return
    last, now = read_failures(resume)[-LIMIT:], reached(resume)
    same = {plain(failure["error"]) for failure in last if failure["reached"] == now}
    if len(last) == LIMIT and len(same) == 1 and all(failure["reached"] == now for failure in last):
        raise NoProgress(
            f"not tried again: the last {LIMIT} attempts got no further and died of the same error: {last[-1]['error']}. "
            f"When its cause is mended, call Snakemake again; to try again within this call, `rm {resume / FAILURES}`"
        )


def record_failure(resume: Path, error: Exception) -> None:
    """Write down that an attempt failed, and how far it had got."""
    failure = {"error": f"{type(error).__name__}: {error}", "reached": reached(resume)}
    with suppress(OSError):  # a full disk must not hide the error of the job
        write_text(resume / FAILURES, json.dumps([*read_failures(resume), failure], indent=1), durable=False)


def read_failures(resume: Path) -> list[dict]:
    """Return the failures of this call, none if the file is missing or incomplete."""
    try:
        return read_json(resume / FAILURES)
    except (FileNotFoundError, Damaged):
        return []


def plain(error: str) -> str:
    """Return the text of an error without its numbers: process ids, free bytes.

    >>> plain("OutOfMemoryError: process 4711 has 3.5 GiB")
    'OutOfMemoryError: process # has #.# GiB'
    """
    return re.sub(r"\d+", "#", error)


def reached(resume: Path) -> list[list]:
    """Return what a job has finished: the files of its resume folder, with the sizes of those that a download makes longer."""
    files = sorted(path for path in resume.rglob("*") if path.is_file() and path.name not in NO_PROGRESS)
    sizes = (None if path.suffix in REWRITTEN else path.stat().st_size for path in files)
    return [[str(path.relative_to(resume)), size] for path, size in zip(files, sizes, strict=True)]
