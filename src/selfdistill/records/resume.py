"""Checkpoint folders `checkpoint-K` in a resume folder, and which of them a job resumes from.

A checkpoint is whole if its files agree with its list, which is written last. One that a kill or a power cut left
incomplete is skipped, and the one before is used. The last two are kept.
"""

import logging
import re
import shutil
from collections.abc import Callable
from pathlib import Path

from selfdistill.records.file_lists import FILE_LIST, check_files
from selfdistill.records.files import Damaged

logger = logging.getLogger(__name__)

KEPT = 2
"""Number of checkpoints that are kept; the older one is deleted before a new one is written, so there are never three."""


def number_of(path: Path) -> int:
    """Return the number at the end of a name such as `checkpoint-20`, `step-4` or `rollouts-000003.parquet`."""
    return int(path.stem.rpartition("-")[2])


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoint folders of a resume folder, newest first."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=number_of, reverse=True)


def newest_whole(folder: Path, check: Callable[[Path], None] = check_files) -> Path | None:
    """Return the newest valid checkpoint of a resume folder and delete newer ones; None if the job must start again.

    check: raises Damaged for a checkpoint that is not valid.
    """
    found = checkpoints_in(folder)
    for checkpoint in found:
        try:
            check(checkpoint)
        except Damaged as error:
            logger.warning("%s is skipped and deleted: %s", checkpoint, error)
            delete_checkpoint(checkpoint)
        else:
            return checkpoint
    if found:
        logger.warning("%s: no valid checkpoint is left; the job starts from the beginning", folder)
    return None


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint folder, its list first, so that a kill in between leaves an incomplete checkpoint."""
    (folder / FILE_LIST).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def keep_newest(folder: Path, count: int = KEPT) -> None:
    """Delete all but the newest `count` checkpoints of a resume folder."""
    for checkpoint in checkpoints_in(folder)[count:]:
        delete_checkpoint(checkpoint)
