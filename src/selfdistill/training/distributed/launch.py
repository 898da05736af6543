"""A training job on several processes: `launch` starts them and waits for them, and this module, run as
`python -m selfdistill.training.distributed.launch LAUNCH.json`, is one of them.

On GPUs `accelerate launch` starts the processes with a configuration of config/accelerate/; on CPUs, where it
would start one, torchrun does. The job travels as a file of its resume folder. The parent imports neither torch
nor TRL and must not touch a GPU.
"""

import ctypes
import logging
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from selfdistill.records.files import write_text
from selfdistill.records.threads import thread_limits
from selfdistill.study.methods import METHODS
from selfdistill.training.job import STOP, TrainingJob

logger = logging.getLogger(__name__)

JOB_FILE = "launch.json"
WORKER = ("-m", "selfdistill.training.distributed.launch")
PR_SET_PDEATHSIG = 1
"""Of prctl(2): the signal that this process gets when its parent ends."""


def write_job(job: TrainingJob) -> Path:
    """Write `job` into its resume folder and return the file."""
    file = job.resume / JOB_FILE
    write_text(file, job.model_dump_json(indent=1))
    return file


def read_job(file: str | Path) -> TrainingJob:
    """Return the job that `write_job` wrote."""
    return TrainingJob.model_validate_json(Path(file).read_text(encoding="utf-8"))


def command(processes: int, config: Path | None, worker: Sequence[str] = WORKER) -> list[str]:
    """The command that starts `processes` of `worker`: on GPUs with an accelerate configuration, on CPUs (None)
    without.
    """
    if config is None:
        launcher = ["torch.distributed.run", "--standalone", f"--nproc-per-node={processes}"]
    else:
        launcher = [
            *("accelerate.commands.launch", f"--config_file={config}", f"--num_processes={processes}"),
            *("--num_machines=1", "--main_process_port=0"),
        ]
    return [sys.executable, "-m", *launcher, *worker]


def launch(
    job: TrainingJob,
    processes: int,
    config: Path | None,
    worker: Sequence[str] = WORKER,
    threads: int = 1,
) -> None:
    """Train `job` on `processes` processes of `threads` threads each and wait for their end.

    SIGTERM makes the file STOP in the resume folder, at which all processes stop after the same step
    (`checkpoints.StopOnSignal`); then SystemExit 143 is raised, as by a run on one process. Raises RuntimeError if a
    process failed. The processes end with this one, however it ends, for another call must not find them at
    work on its files.
    """
    file, stop = write_job(job), job.resume / STOP
    stop.unlink(missing_ok=True)
    requested = False

    def request(*_: Any) -> None:
        nonlocal requested
        requested = True
        stop.touch()

    previous = signal.signal(signal.SIGTERM, request)
    logger.info("%d processes%s", processes, f" with {config}" if config else "")
    # torchrun would kill its processes 30 s after it got SIGTERM
    environment = os.environ | thread_limits(threads) | {"PET_SIGNALS_TO_HANDLE": "SIGINT"}
    child = subprocess.Popen(
        [*command(processes, config, worker), str(file)], env=environment, preexec_fn=_become_launcher
    )
    try:
        code = child.wait()
    finally:
        child.kill()
        signal.signal(signal.SIGTERM, previous)
    if code and requested:
        raise SystemExit(128 + signal.SIGTERM)
    if code:
        raise RuntimeError(
            f"training on {processes} processes failed (exit code {code}); the reason is above"
        )


def _become_launcher() -> None:
    """In the launcher before it starts: ignore SIGTERM (Slurm sends it to every process), end with its parent."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Have this process killed when its parent ends. Linux only; elsewhere nothing happens."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_worker() -> None:
    """What every process does first: hear SIGTERM again, end with the launcher, log (processes beside the
    first: warnings only).
    """
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    parent = Path(f"/proc/{os.getppid()}/cmdline")
    if parent.exists() and os.fsencode(sys.argv[-1]) not in parent.read_bytes():
        raise SystemExit("the launcher of this process has ended")  # before it could be asked to tell
    rank = int(os.environ["RANK"])
    logging.basicConfig(
        level=logging.WARNING if rank else logging.INFO,
        format=f"%(asctime)s %(levelname)s %(name)s [{rank}]: %(message)s",
        force=True,
    )


def train(job: TrainingJob, **options: Callable) -> None:
    """Train a job by its method's trainer in this process; `options` go to the trainer (`reward`)."""
    pkgutil.resolve_name(METHODS[job.run.method].trainer)(job, **options)


def end_together() -> None:
    """Leave the group of processes, if there is one, so that none of them ends while another still needs it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    become_worker()
    train(read_job(sys.argv[1]))
    end_together()
