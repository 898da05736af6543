"""The peak memory of a call, measured in a process of its own."""

import json
import os
import pkgutil
import subprocess
import sys
from pathlib import Path

import pandas  # noqa: F401 (so that its memory, and pyarrow's, is that of imports)
import pyarrow.parquet  # noqa: F401


def peak_growth(function: str, *arguments: object) -> float:
    """Return by how many MB a call of `module:function` (of the library or this folder) raises the resident memory of its process at most."""
    places = [str(Path(__file__).parent), str(Path(__file__).parents[1] / "src")]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(places)}
    command = [sys.executable, __file__, function, json.dumps(arguments, default=str)]
    done = subprocess.run(command, capture_output=True, text=True, env=environment)
    if done.returncode:
        raise AssertionError(f"{function} failed:\n{done.stderr}")
    return float(done.stdout.splitlines()[-1])


def resident(key: str) -> float:
    """Return a value in MB of this process's status: VmRSS (now) or VmHWM (the peak since it was last reset)."""
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    (line,) = (line for line in lines if line.startswith(f"{key}:"))
    return int(line.split()[1]) / 1024


def main(function: str, arguments: str) -> None:
    """Print the growth: what is imported does not count, nor does the peak of the process that started this one."""
    call = pkgutil.resolve_name(function)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
    before = resident("VmRSS")
    call(*json.loads(arguments))
    print(resident("VmHWM") - before)


if __name__ == "__main__":
    main(*sys.argv[1:])
