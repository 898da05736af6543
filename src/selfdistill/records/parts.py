"""Frames that a long job writes as they are finished, so that a killed job generates only what is missing.

Used by `evaluation` (a part is a checkpoint on a benchmark, or some problems of it) and `richness` (a part is a batch of problems
under a context). The folder lies in the job's resume folder, which `job.claim_resume` empties when config, code or inputs have
changed since; so a part that is there was made as it would be made again.
"""

import logging
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from selfdistill.records.files import Damaged, read_frame, write_frame

logger = logging.getLogger(__name__)


class Parts:
    """The finished parts in a folder; without a folder nothing is kept.

    >>> Parts().get("part", lambda: pd.DataFrame({"x": [1]}))["x"].tolist()
    [1]
    """

    def __init__(self, folder: Path | None = None) -> None:
        self.folder = folder

    def get(self, name: str, make: Callable[[], pd.DataFrame]) -> pd.DataFrame:
        """The part `name` (may contain slashes): as it was written, else made and written, atomically.

        A new part is read back too, so that a job ends with the same frame whether it was killed or not. A part that cannot be read
        (a machine that lost power while it was written) is made again.
        """
        if self.folder is None:
            return make()
        path = self.folder / f"{name}.parquet"
        if path.exists():
            try:
                frame = read_frame(path)
            except Damaged as error:
                logger.warning("%s; made again", error)
            else:
                logger.info("%s: taken from %s", name, path)
                return frame
        write_frame(path, make())
        return read_frame(path)


NOT_KEPT = Parts()
"""For callers that have nothing to resume."""
