"""What the jobs of a stage ask of the machine or the cluster: section `resources` of a study file."""

from pydantic import Field

from selfdistill.study.fields import Name, Positive, Section


class ResourceSettings(Section):
    """What a job of a stage asks of the machine or the cluster."""

    threads: Positive = Field(default=1, description="CPU cores")
    mem_mb: Positive = Field(default=2000, description="memory in MB")
    runtime: Positive = Field(default=120, description="wall time in minutes")
    gpus: int = Field(default=0, ge=0, description="GPUs")
    accelerate: Name | None = Field(
        default=None,
        description="file of accelerate/ by which a training job (`sft`, `rl`) is shared out to its GPUs, such as "
        "`fsdp`; null for one process",
    )
    processes: Positive | None = Field(
        default=None, description="processes of a job with `accelerate`; null for one a GPU"
    )

    @property
    def process_count(self) -> int:
        """Processes of a training job: one, or with `accelerate` one a GPU if not said otherwise."""
        return (self.processes or self.gpus) if self.accelerate else 1
