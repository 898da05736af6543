"""Files of results with modification times in the future, because a clock was ahead or a file was copied.

After a job, Snakemake itself sets the times of its outputs (of a folder, through the `.snakemake_timestamp` in it). It then
rejects and deletes outputs that are older than an input, so every call would lose a whole training run at its end. Since
Snakemake overwrites the times of outputs, the times of inputs are corrected instead.
"""

import logging
import os
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path

logger = logging.getLogger(__name__)

STAMP = ".snakemake_timestamp"
"""File whose time Snakemake takes for that of its folder."""


def dated_file(path: Path) -> Path:
    """Return the file whose time Snakemake uses for an input or output."""
    return path / STAMP if (path / STAMP).exists() else path


def date_back(inputs: Iterable[str | Path], results: str | Path) -> None:
    """Set the times of all files from the future, among `inputs` and below `results`, to now, if an input is one of them.

    All get the same time, so that no file becomes newer than one made after it. Now is the time of the file system, which
    may be that of a server.
    """
    paths = [dated_file(Path(path)) for path in inputs]
    with tempfile.NamedTemporaryFile(dir=results) as probe:
        now = os.stat(probe.name).st_mtime_ns
    ahead = [path for path in paths if path.lstat().st_mtime_ns > now]
    if not ahead:
        return
    logger.warning(
        "%s has a time in the future: its time, and those of all other such files of the results, are set to now",
        ahead[0],
    )
    for path in {*ahead, *_ahead_below(Path(results), now)}:
        os.utime(path, ns=(now, now), follow_symlinks=False)


def _ahead_below(folder: Path, now: int) -> Iterator[Path]:
    """Yield the files and folders below a folder whose times are after `now` (ns)."""
    for root, folders, names in os.walk(folder):
        paths = (Path(root, name) for name in (*folders, *names))
        yield from (path for path in paths if path.lstat().st_mtime_ns > now)
