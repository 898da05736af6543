"""On what a job ran: commit, package versions, device, peak memory."""

import platform
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

PACKAGES = ("torch", "transformers", "trl", "vllm", "datasets", "math-verify", "numpy", "pandas", "snakemake")


def git_commit() -> str | None:
    """The commit of the working directory, with `+changes` where it is not clean.

    None outside a repository.
    """
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + ("+changes" if _git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", *arguments], check=True, capture_output=True, text=True)
    return done.stdout.strip()


@cache
def package_versions() -> dict[str, str]:
    """Versions of the packages that results depend on, where installed."""
    from importlib import metadata

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def device_name() -> str:
    """The GPU that was used, else the processor's model."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    cpuinfo = Path("/proc/cpuinfo")
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    return next(
        (line.partition(":")[2].strip() for line in lines if line.startswith("model name")),
        platform.machine(),
    )


def peak_memory_mb() -> float:
    """Largest resident memory of this process or of any child that has ended, whichever is more, in MB.

    Not their sum: Linux counts for a child what its parent held when it was started. So a job of the warm process counts all that
    the server has imported, also what other jobs asked for.
    """
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(max(usage) / 1024, 1)
