"""Files of results whose times lie in the future, by a clock that was ahead or by a copy.

Snakemake dates a job's outputs itself when the job has ended (a folder by the `.snakemake_timestamp` in it) and then
refuses and deletes those that are older than an input: a training would be lost at its end, at every call. What a job
does to the times of its outputs does not last, so the inputs are dated back.
"""

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

STAMP = ".snakemake_timestamp"
"""File by which Snakemake dates the folder that it lies in."""


def dated_file(path: Path) -> Path:
    """Return the file whose time Snakemake takes for that of an input or output."""
    return path / STAMP if (path / STAMP).exists() else path


def date_back(inputs: Iterable[str | Path], results: str | Path) -> None:
    """If an input's time lies in the future, give every such file among `inputs` and below `results` the present time.

    All get the same time, so that none becomes newer than another which was made later. The present is the file
    system's, which may be that of a server.
    """
    paths = [dated_file(Path(path)) for path in inputs]
    with tempfile.NamedTemporaryFile(dir=results) as probe:
        now = os.stat(probe.name).st_mtime_ns
    ahead = [path for path in paths if path.lstat().st_mtime_ns > now]
    if not ahead:
        return
    logger.warning(
        "%s is dated in the future, as is all that a clock ahead has written: dated back to now", ahead[0]
    )
    for path in {*ahead, *_ahead_below(Path(results), now)}:
        os.utime(path, ns=(now, now), follow_symlinks=False)


def _ahead_below(folder: Path, now: int) -> Iterator[Path]:
    for root, folders, names in os.walk(folder):
        paths = (Path(root, name) for name in (*folders, *names))
        yield from (path for path in paths if path.lstat().st_mtime_ns > now)
