"""A training job on several processes: `launch` starts and awaits them; each runs
`python -m selfdistill.training.distributed.launch LAUNCH.json`, this module.

On GPUs `accelerate launch` starts the processes with a configuration from config/accelerate/. On CPUs it would start only
one, so torchrun is used. On several nodes Slurm starts one of these on each (`nodes`). The job is passed as a file in its resume
folder. The parent imports neither torch nor TRL and must not use a GPU.
"""

import ctypes
import logging
import os
import pkgutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from selfdistill.records.files import write_text
from selfdistill.records.threads import thread_limits
from selfdistill.study.methods import METHODS
from selfdistill.training.distributed.nodes import ONE_NODE, Nodes, command, on_nodes
from selfdistill.training.job import STOP, TrainingJob

logger = logging.getLogger(__name__)

JOB_FILE = "launch.json"
ERROR = "error.txt"
"""File of the resume folder with the error of the first process that failed."""
WORKER = ("-m", "selfdistill.training.distributed.launch")
PR_SET_PDEATHSIG = 1
"""Option of prctl(2): the signal that this process gets when its parent ends."""


def write_job(job: TrainingJob) -> Path:
    """Write `job` into its resume folder and return the file."""
    file = job.resume / JOB_FILE
    write_text(file, job.model_dump_json(indent=1))
    return file


def read_job(file: str | Path) -> TrainingJob:
    """Return the job that `write_job` wrote."""
    return TrainingJob.model_validate_json(Path(file).read_text(encoding="utf-8"))


def launch(
    job: TrainingJob,
    processes: int,
    config: Path | None,
    worker: Sequence[str] = WORKER,
    threads: int = 1,
    nodes: Nodes = ONE_NODE,
) -> None:
    """Train `job` on `processes` processes of `threads` threads each and wait until they end.

    SIGTERM creates the file STOP in the resume folder; all processes then stop after the same step
    (`checkpoints.StopOnSignal`), and SystemExit 143 is raised, as by a run on one process. Raise RuntimeError with the error of
    the first process that failed. However this process ends, the others end with it, so that the next call does not find them writing its files.
    """
    file, stop, failed = write_job(job), job.resume / STOP, job.resume / ERROR
    for left_over in (stop, failed):
        left_over.unlink(missing_ok=True)
    requested = False

    def request(*_: Any) -> None:
        """Handle SIGTERM: ask the processes to stop."""
        nonlocal requested
        requested = True
        stop.touch()

    previous = signal.signal(signal.SIGTERM, request)
    logger.info("%d processes%s", processes, f" with {config}" if config else "")
    workers = (*worker, str(file))
    alone = nodes.count == 1
    launcher = command(processes, config, workers) if alone else on_nodes(nodes, processes, config, workers)
    # by default torchrun kills its processes 30 s after SIGTERM
    environment = os.environ | thread_limits(threads) | {"PET_SIGNALS_TO_HANDLE": "SIGINT"}
    child = subprocess.Popen(launcher, env=environment, preexec_fn=_become_launcher)
    try:
        code = child.wait()
    finally:
        child.kill()
        signal.signal(signal.SIGTERM, previous)
    if code and requested:
        raise SystemExit(128 + signal.SIGTERM)
    if code:
        told = failed.read_text(encoding="utf-8") if failed.exists() else "see the error above"
        raise RuntimeError(f"training on {processes} processes failed (exit code {code}): {told}")


def _become_launcher() -> None:
    """Prepare the launcher: ignore SIGTERM (Slurm sends it to every process) and end with the parent."""
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    end_with_parent()


def end_with_parent() -> None:
    """Have this process killed when its parent ends (Linux only; elsewhere do nothing)."""
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def become_worker() -> None:
    """Prepare a worker: handle SIGTERM again, end with the launcher, and log (only process 0 logs more than warnings)."""
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    end_with_parent()
    parent = Path(f"/proc/{os.getppid()}/cmdline")
    if parent.exists() and os.fsencode(sys.argv[-1]) not in parent.read_bytes():
        # the launcher ended before `end_with_parent`, so no signal will come
        raise SystemExit("the launcher of this process has ended")
    rank = int(os.environ["RANK"])
    logging.basicConfig(
        level=logging.WARNING if rank else logging.INFO,
        format=f"%(asctime)s %(levelname)s %(name)s [{rank}]: %(message)s",
        force=True,
    )


def train(job: TrainingJob, **options: Callable) -> None:
    """Train a job in this process with its method's training function; options: for that function (`reward`)."""
    pkgutil.resolve_name(METHODS[job.run.method].trainer)(job, **options)


@contextmanager
def telling(folder: Path) -> Iterator[None]:
    """Leave the error that ends this process to the launcher, in a resume folder, unless another process was first."""
    try:
        yield
    except Exception as error:
        with suppress(OSError), (folder / ERROR).open("x", encoding="utf-8") as file:
            file.write(f"{type(error).__name__}: {error}")
        raise


def end_together() -> None:
    """Wait for the other processes, if there are any: none may end while another still needs it."""
    from torch import distributed

    if distributed.is_initialized():
        distributed.barrier()
        distributed.destroy_process_group()


if __name__ == "__main__":
    become_worker()
    job = read_job(sys.argv[1])
    with telling(job.resume):
        train(job)
    end_together()
