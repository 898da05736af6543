"""What a study is held to that its config does not pin: config/lock/STUDY.yaml, written by the first fetch.

The config names a branch where nobody has pinned a commit yet. The first job that fetches from it writes down what it got, a later one
gets the same or fails. The file lies beside the study file, not among the results: it belongs under version control, and it must
outlive `rm -r results`. It is no input of a job, so writing it makes nothing run again.
"""

import logging
import os
import re
from pathlib import Path

import yaml
from filelock import FileLock

from selfdistill.records.files import write_text

logger = logging.getLogger(__name__)

LOCK = "SELFDISTILL_LOCK"
"""Variable with the study's lock file; the Snakefile sets it. Without it nothing is held."""
HEAD = "# Written by the first fetch: the study is held to these. Keep this file under version control.\n"


class OtherPin(ValueError):
    """What was fetched is not what the lock file holds the study to."""


def is_commit(revision: str) -> bool:
    """Return whether a revision is a whole commit hash, which cannot move."""
    return re.fullmatch(r"[0-9a-f]{40}", revision) is not None


def lock_file() -> Path | None:
    """Return the lock file of the running study, None outside of one."""
    return Path(os.environ[LOCK]) if os.environ.get(LOCK) else None


def pin_of(name: str) -> str | None:
    """Return what `name` is held to, None if nothing is written down."""
    file = lock_file()
    return read_pins(file).get(name) if file else None


def pin(name: str, value: str) -> None:
    """Hold `name` to `value` from now on. Raise OtherPin if it is held to something else."""
    file = lock_file()
    if file is None:
        return
    held = pin_of(name)
    if held is None:
        try:
            held = write_pin(file, name, value)
        except OSError as error:  # a checkout that jobs cannot write
            logger.warning(
                "%s cannot be written (%s): add the line `%s: %s` yourself", file, error, name, value
            )
            return
    if held != value:
        raise OtherPin(
            f"{name}: {file} holds it to {held}, found {value}; delete its line there to take this one"
        )


def read_pins(file: Path) -> dict[str, str]:
    """Return the lines of a lock file, none if it is missing."""
    return yaml.safe_load(file.read_text(encoding="utf-8")) or {} if file.exists() else {}


def write_pin(file: Path, name: str, value: str) -> str:
    """Add a line to a lock file unless another job has; return what it says."""
    file.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(file.with_name(f".{file.name}.lock")):
        pins = {name: value} | read_pins(file)
        write_text(file, HEAD + yaml.safe_dump(pins, width=1000))
    return pins[name]
