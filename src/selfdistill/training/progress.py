"""Progress of training: `progress.json` and one log line per step."""

import logging
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from selfdistill.records.progress import write_progress

logger = logging.getLogger(__name__)


class ProgressCallback(TrainerCallback):
    """Write the progress and a log line after every step."""

    def __init__(self, resume: Path, updates_per_step: int) -> None:
        self.resume, self.updates_per_step = resume, updates_per_step
        self._started, self._first = time.monotonic(), 0

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Start the clock at the first step of this process."""
        self._started, self._first = time.monotonic(), state.global_step // self.updates_per_step

    def on_step_end(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **_: Any
    ) -> None:
        """Write the progress at the end of a step."""
        if not state.is_world_process_zero or state.global_step % self.updates_per_step:
            return
        step, steps = state.global_step // self.updates_per_step, state.max_steps // self.updates_per_step
        seconds = time.monotonic() - self._started
        eta = write_progress(self.resume, step=step, steps=steps, seconds=seconds, first=self._first)
        logger.info("step %d of %d, %.0f s, about %.0f s left", step, steps, seconds, eta)
