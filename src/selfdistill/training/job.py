"""What a training function is given: one run, where its inputs lie, where its outputs go, and its settings."""

from pathlib import Path

from selfdistill.study.jobs import TrainingParams

STOP = "STOP"
"""File of the resume folder at which a training stops after its current step (see `checkpoints.StopOnSignal`)."""


class TrainingJob(TrainingParams):
    """One run to train.

    base: Hugging Face folder of the initial policy; data: parquet of problems (on-policy methods) or of responses
    (SFT); output: run folder that receives checkpoints/, training.parquet and rollouts.parquet; resume: folder that
    outlives a killed job. Every random stream is derived by name from the run's seed.
    """

    base: Path
    data: Path
    output: Path
    resume: Path

    @property
    def seed(self) -> int:
        """Return the run's seed."""
        return self.run.seed
