"""What the jobs of a stage ask of the machine or the cluster: section `resources` of a study file."""

from pydantic import Field

from selfdistill.study.fields import Name, Positive, Section


class ResourceSettings(Section):
    """What a job of a stage asks of the machine or the cluster."""

    threads: Positive = Field(default=1, description="CPU cores per job")
    mem_mb: Positive = Field(default=2000, description="memory per job in MB")
    runtime: Positive = Field(default=120, description="wall-time limit in minutes")
    gpus: int = Field(default=0, ge=0, description="GPUs per job, over all its nodes")
    nodes: Positive = Field(
        default=1,
        description="nodes per training job (`sft`, `rl`) under Slurm; `threads` and `mem_mb` are those of each",
    )
    accelerate: Name | None = Field(
        default=None,
        description="file of accelerate/ that splits a training job (`sft`, `rl`) over its GPUs, such as "
        "`fsdp` (null: one process)",
    )
    processes: Positive | None = Field(
        default=None, description="processes of a job with `accelerate` (null: one per GPU)"
    )

    @property
    def process_count(self) -> int:
        """Processes of a training job: one, or with `accelerate` one per GPU if not said otherwise."""
        return (self.processes or self.gpus) if self.accelerate else 1
