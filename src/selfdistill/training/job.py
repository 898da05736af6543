"""The argument of training functions: one run, its settings, and the paths of its inputs and outputs."""

from pathlib import Path

from selfdistill.study.jobs import TrainingParams

STOP = "STOP"
"""File in the resume folder; once it exists, training stops after the current step (`checkpoints.StopOnSignal`)."""


class TrainingJob(TrainingParams):
    """One run to train.

    base: Hugging Face folder of the initial policy; data: parquet of problems (on-policy methods) or responses (SFT);
    output: run folder, for checkpoints/, training.parquet and rollouts.parquet; resume: folder that survives a killed
    job; resume_every: steps between the checkpoints that are written beside those of the settings, 0 for none. Every random
    stream is derived by name from the seed of the run's draw.
    """

    base: Path
    data: Path
    output: Path
    resume: Path
    resume_every: int = 0

    @property
    def seed(self) -> int:
        """Return the seed of the run's draw."""
        return self.run.draw_seed
