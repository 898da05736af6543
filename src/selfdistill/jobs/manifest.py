"""Facts about the machine and code of a job: commit, package versions, device, peak memory."""

import os
import platform
import resource
import subprocess
import sys
from functools import cache
from pathlib import Path

PACKAGES = ("torch", "transformers", "trl", "vllm", "datasets", "math-verify", "numpy", "pandas", "snakemake")


VECTORS = {"amx_tile": "AMX", "avx512f": "AVX-512", "avx2": "AVX2"}
"""Flags of a processor's vector units and their names, the widest first."""

PACKAGE = Path(__file__).resolve().parents[1]
"""Folder of the running code."""


class OtherLibrary(RuntimeError):
    """The imported library does not belong to the checkout whose workflow runs."""


def check_library(root: str | Path) -> None:
    """Raise OtherLibrary unless the imported package is the one in `root`, the checkout whose workflow runs."""
    own = Path(root, "src", PACKAGE.name).resolve()
    if own != PACKAGE:
        raise OtherLibrary(
            f"the workflow is {own.parents[1]}, but its library is imported from {PACKAGE}: "
            f"use the environment of that checkout (`make setup` there), or set PYTHONPATH={own.parent}"
        )


def git_commit(package: Path = PACKAGE) -> str | None:
    """Return the commit of the running code, with `+changes` if its checkout is not clean.

    None if `package` is not tracked by a repository (an installed copy may lie within another repository).
    """
    try:
        _git(package, "ls-files", "--error-unmatch", "__init__.py")
        commit = _git(package, "rev-parse", "HEAD")
        changes = _git(package, "status", "--porcelain", "--untracked-files=no")
        return commit + ("+changes" if changes else "")
    except (OSError, subprocess.CalledProcessError):
        return None


def _git(folder: Path, *arguments: str) -> str:
    """Return the output of a git command in a folder."""
    # a hook sets GIT_DIR and similar variables, which would select another repository
    environment = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    command = ["git", "-C", str(folder), *arguments]
    done = subprocess.run(command, check=True, capture_output=True, text=True, env=environment)
    return done.stdout.strip()


@cache
def package_versions() -> dict[str, str]:
    """Return the versions of the installed packages that results depend on."""
    from importlib import metadata

    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return versions


def device_name(cpuinfo: Path = Path("/proc/cpuinfo")) -> str:
    """Return the number and name of the GPUs, or the model of the processor and its vector units, which decide the last bits of a result."""
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_available():
        return f"{torch.cuda.device_count()} x {torch.cuda.get_device_name(0)}"
    lines = cpuinfo.read_text(encoding="utf-8").splitlines() if cpuinfo.exists() else []
    said = {
        name.strip(): value.strip() for name, _, value in (line.partition(":") for line in reversed(lines))
    }
    flags = said.get("flags", "").split()
    vectors = [name for flag, name in VECTORS.items() if flag in flags]
    return ", ".join([said.get("model name", platform.machine()), *vectors[:1]])


def peak_memory_mb() -> float:
    """Return the largest resident memory of this process and of any ended child, in MB.

    It is the maximum, not the sum: Linux counts memory that a child shares with its parent for both. A job of the warm process
    therefore includes everything that the server has imported, also for other jobs.
    """
    usage = (resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return round(max(usage) / 1024, 1)


def peak_gpu_memory_mb() -> float | None:
    """Return the most memory that torch has reserved on a GPU in this process, in MB; None if it used none.

    A vLLM engine or training processes of their own are not counted.
    """
    torch = sys.modules.get("torch")
    if torch is None or not torch.cuda.is_initialized():
        return None
    peaks = (torch.cuda.max_memory_reserved(index) for index in range(torch.cuda.device_count()))
    return round(max(peaks) / 2**20, 1)
