"""Whether a job got the GPUs that it asked for, told before it does anything.

A job that sees fewer GPUs than it asked for would run for days at a fraction of the speed or out of memory; one
that sees more would spread over devices that are not its own; and one that Slurm starts as several tasks would
train the same run several times, all writing to the same files. Each ends at once, with the counts.
"""

import logging
import os
from collections.abc import Mapping

logger = logging.getLogger(__name__)

VISIBLE = "CUDA_VISIBLE_DEVICES"
NOTHING = ("", "-1", "NoDevFiles")
TASKS = "SLURM_STEP_NUM_TASKS"


class WrongAllocation(RuntimeError):
    """The job runs on another number of GPUs, or in more copies, than it asked for."""


def check_allocation(rule: str, gpus: int, environment: Mapping[str, str] = os.environ) -> None:
    """Raise WrongAllocation if a job of `rule` that asked for `gpus` GPUs sees another number of them, or is
    one of several Slurm tasks.

    A job that asked for none may see any: a local run does not hide them.
    """
    tasks = int(environment.get(TASKS, "1"))
    if tasks > 1:
        raise WrongAllocation(
            f"{rule}: Slurm started this job as {tasks} tasks, and each would do all of it; one task with all GPUs is "
            "needed: the resource tasks_per_gpu must be 0, and `tasks` must not be set"
        )
    if not gpus:
        return
    seen, source = visible_devices(environment)
    if seen != gpus:
        raise WrongAllocation(
            f"{rule}: asked for {gpus} GPUs, sees {seen} ({source}). On a cluster the study's `resources` or the "
            f"partition are wrong for it; on a machine of your own, set {VISIBLE} to {gpus} of its GPUs"
        )
    logger.info("%d GPUs (%s)", seen, source)


def built_for_gpus() -> bool:
    """Whether this PyTorch can use GPUs at all."""
    import torch

    return bool(torch.version.cuda or torch.version.hip)


def visible_devices(environment: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """(number of GPUs that this process sees, who says so).

    PyTorch counts the devices that exist. A build without CUDA knows of none; there the variable that Slurm sets
    is counted.
    """
    variable = environment.get(VISIBLE)
    shown = f"{VISIBLE} is {variable!r}" if variable is not None else f"{VISIBLE} is not set"
    if built_for_gpus():
        import torch

        return torch.cuda.device_count(), f"PyTorch's count; {shown}"
    return len(device_names(variable)), f"{shown}; this PyTorch is built without CUDA"


def device_names(variable: str | None) -> list[str]:
    """The devices that a value of CUDA_VISIBLE_DEVICES names.

    >>> device_names("0,1"), device_names("GPU-8a2f"), device_names(""), device_names("-1"), device_names(None)
    (['0', '1'], ['GPU-8a2f'], [], [], [])
    """
    names = [name.strip() for name in (variable or "").split(",")]
    return [name for name in names if name not in NOTHING]
