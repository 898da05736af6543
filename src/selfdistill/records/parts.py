"""Parts of a long job, written as soon as they are finished, so that a resumed job generates only the missing ones.

Used by `sampling.evaluation` (a part is some problems of a benchmark) and `sampling.section_3` (a part is a
batch of problems under a context). The folder is in the job's resume folder. `jobs.resume.claim_resume` empties that if config,
code or inputs have changed, so any part found there is still valid.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from selfdistill.records.files import Damaged, read_frame, write_frame

logger = logging.getLogger(__name__)


class Parts:
    """The finished parts in a folder; without a folder, nothing is stored.

    >>> Parts().get("part", lambda: pd.DataFrame({"x": [1]}))["x"].tolist()
    [1]
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def get(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """Return the part `name` (may contain slashes) from its file; if there is none, make it and write it first.

        A new part is read back too, so that interrupted and uninterrupted jobs get the same frame. A damaged part (after a power
        cut) is made again.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.parquet"
        if path.exists():
            try:
                frame = read_frame(path)
            except Damaged as error:
                logger.warning("%s; generating it again", error)
            else:
                logger.info("%s: reused from %s", name, path)
                return frame
        write_frame(path, make())
        return read_frame(path)


NOT_KEPT = Parts()
"""For callers without a resume folder."""
