"""Checks, before a job does anything, that it got the GPUs that it asked for.

With fewer GPUs, a job would run for days at a fraction of the speed, or run out of memory. With more, it would use
devices that are not its own. Started by Slurm as several tasks, it would train the same run several times, all writing to
the same files. In each case the job fails at once and reports the counts.
"""

import logging
import os
from collections.abc import Mapping

logger = logging.getLogger(__name__)

VISIBLE_VARIABLE = "CUDA_VISIBLE_DEVICES"
NO_DEVICE = ("", "-1", "NoDevFiles")
"""Entries of CUDA_VISIBLE_DEVICES that name no device."""
TASKS_VARIABLE = "SLURM_STEP_NUM_TASKS"


class WrongAllocation(RuntimeError):
    """The job got another number of GPUs than it asked for, or runs as several tasks."""


def check_allocation(rule: str, gpus: int, environment: Mapping[str, str] = os.environ) -> None:
    """Raise WrongAllocation if a job that asked for `gpus` GPUs sees another number, or is one of several Slurm tasks.

    A job that asked for none may see any number, because a local run does not hide them.
    """
    tasks = int(environment.get(TASKS_VARIABLE, "1"))
    if tasks > 1:
        raise WrongAllocation(
            f"{rule}: Slurm started this job as {tasks} tasks, each of which would do the whole job; it must be one task with "
            "all GPUs: the resource tasks_per_gpu must be 0, and `tasks` must not be set"
        )
    if not gpus:
        return
    seen, source = visible_devices(environment)
    if seen != gpus:
        raise WrongAllocation(
            f"{rule}: asked for {gpus} GPUs, sees {seen} ({source}). On a cluster, correct the study's `resources` "
            f"or the partition; on your own machine, set {VISIBLE_VARIABLE} to {gpus} of its GPUs"
        )
    logger.info("%d GPUs (%s)", seen, source)


def built_for_gpus() -> bool:
    """Return whether this PyTorch can use GPUs at all."""
    import torch

    return bool(torch.version.cuda or torch.version.hip)


def visible_devices(environment: Mapping[str, str] = os.environ) -> tuple[int, str]:
    """Return the number of GPUs that this process sees, and the source of that number.

    PyTorch counts the devices that exist. A build without CUDA cannot; then the entries of the variable that Slurm sets
    are counted.
    """
    variable = environment.get(VISIBLE_VARIABLE)
    shown = (
        f"{VISIBLE_VARIABLE} is {variable!r}" if variable is not None else f"{VISIBLE_VARIABLE} is not set"
    )
    if built_for_gpus():
        import torch

        return torch.cuda.device_count(), f"PyTorch's count; {shown}"
    return len(device_names(variable)), f"{shown}; this PyTorch is built without CUDA"


def device_names(variable: str | None) -> list[str]:
    """Return the devices that a value of CUDA_VISIBLE_DEVICES names.

    >>> device_names("0,1"), device_names("GPU-8a2f"), device_names(""), device_names("-1"), device_names(None)
    (['0', '1'], ['GPU-8a2f'], [], [], [])
    """
    names = [name.strip() for name in (variable or "").split(",")]
    return [name for name in names if name not in NO_DEVICE]
