"""Checkpoint folders `checkpoint-K` in a resume folder: which are whole, and which one counts.

A checkpoint is whole if its files are as its list says, which is written last. What a kill or a power cut left
otherwise is passed over for the one before. The last two are kept.
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
"""Checkpoints that are kept; while one is written only the one before is, so that the disk never holds three."""


def number_of(path: Path) -> int:
    """Return the number at the end of a name such as `checkpoint-20`, `step-4` or `rollouts-000003.parquet`."""
    return int(path.stem.rpartition("-")[2])


def checkpoints_in(folder: Path) -> list[Path]:
    """Return the checkpoint folders of a resume folder, the newest first."""
    found = [path for path in folder.glob("checkpoint-*") if re.fullmatch(r"checkpoint-\d+", path.name)]
    return sorted(found, key=number_of, reverse=True)


def newest_whole(folder: Path, check: Callable[[Path], None] = check_files) -> Path | None:
    """Return the newest checkpoint of a resume folder at which `check` does not raise Damaged; delete the newer ones.

    None if there is none: the job then begins afresh.
    """
    found = checkpoints_in(folder)
    for checkpoint in found:
        try:
            check(checkpoint)
        except Damaged as error:
            logger.warning("%s is passed over and deleted: %s", checkpoint, error)
            delete_checkpoint(checkpoint)
        else:
            return checkpoint
    if found:
        logger.warning("%s: no whole checkpoint is left, the job begins afresh", folder)
    return None


def delete_checkpoint(folder: Path) -> None:
    """Delete a checkpoint folder, its list first, so that a kill in between leaves an incomplete one."""
    (folder / FILE_LIST).unlink(missing_ok=True)
    if folder.exists():
        shutil.rmtree(folder)


def keep_newest(folder: Path, count: int = KEPT) -> None:
    """Delete the checkpoints of a resume folder but for the newest `count`."""
    for checkpoint in checkpoints_in(folder)[count:]:
        delete_checkpoint(checkpoint)
