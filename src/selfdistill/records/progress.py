"""Progress of a training job: `<resume>/progress.json` and one log line a step, for people and for the
progress command.
"""

import json
import logging
import time
from pathlib import Path

from transformers import TrainerCallback

from selfdistill.records.files import write_text

logger = logging.getLogger(__name__)


def write_progress(resume: Path, *, step: int, steps: int, seconds: float, first: int = 0) -> float:
    """Write `<resume>/progress.json` and return the estimated seconds left.

    step of steps are done, those after `first` (where a resume began) in `seconds` by this process.
    """
    eta = seconds / max(step - first, 1) * (steps - step)
    progress = {"step": step, "steps": steps, "seconds": round(seconds, 1), "eta": round(eta, 1)}
    write_text(resume / "progress.json", json.dumps(progress))
    return eta


class ProgressCallback(TrainerCallback):
    """Writes the progress and a log line after every step."""

    def __init__(self, resume: Path, updates_per_step: int) -> None:
        self.resume, self.updates_per_step = resume, updates_per_step
        self._started, self._first = time.monotonic(), 0

    def on_train_begin(self, args, state, control, **_) -> None:
        """Start the clock at the step that a resume begins with."""
        self._started, self._first = time.monotonic(), state.global_step // self.updates_per_step

    def on_step_end(self, args, state, control, **_) -> None:
        """Write the progress at the end of a step."""
        if not state.is_world_process_zero or state.global_step % self.updates_per_step:
            return
        step, steps = state.global_step // self.updates_per_step, state.max_steps // self.updates_per_step
        seconds = time.monotonic() - self._started
        eta = write_progress(self.resume, step=step, steps=steps, seconds=seconds, first=self._first)
        logger.info("step %d of %d, %.0f s, about %.0f s left", step, steps, seconds, eta)
