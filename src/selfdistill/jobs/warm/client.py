"""Fast job starts: a script hands its job to a process that has already imported torch, transformers and TRL.

Importing them takes a job 2 to 3 seconds, longer than many jobs of a small study compute. `start_server` (Snakefile, onstart)
starts `selfdistill.jobs.warm.server`, which imports what the first job of each kind needs and forks one child per job. `run_job`
in a script calls `hand_over`: the script then only waits for its child, forwards SIGTERM and SIGINT to it, and ends as it ends.
The child is killed when the script or the server ends, for whatever reason. The server ends when Snakemake has ended and no
script waits.

A script runs its job itself if the variable SELFDISTILL_WARM is not set or `off`, or if the server does not answer or refuses the
job (another Python, another number of threads, a PyTorch built for GPUs, whose state cannot be forked). Linux only.
"""

import json
import os
import secrets
import signal
import socket
import struct
import subprocess
import sys
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NoReturn

from selfdistill.jobs.timing import process_start

VARIABLE = "SELFDISTILL_WARM"
"""Environment variable with the name of the server's socket; set it to `off` before calling Snakemake for no server."""
OFF = "off"
FORWARDED_SIGNALS = (signal.SIGTERM, signal.SIGINT)
THREADS = 1
"""Threads of the server's numerical libraries, and hence of its jobs."""

served: float | None = None
"""In a child of the server: the start of its script (Unix time in seconds); None in any other process."""
_servers: list[subprocess.Popen] = []


def script_began() -> float:
    """Return the start of this job's script (Unix time in seconds), also in a child of the server."""
    return served or process_start()


def start_server(log: str | Path) -> None:
    """Start the server, with its output in `log`, and announce it to the scripts through SELFDISTILL_WARM.

    Until the first job, it is a bare Python. It holds the reading end of a pipe from this process, and so learns when this process
    ends.
    """
    if os.environ.get(VARIABLE) == OFF or sys.platform != "linux":
        return
    name = f"selfdistill-{secrets.token_hex(16)}"
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, Path(log).open("a", encoding="utf-8") as output:
        listener.bind(f"\0{name}")  # abstract socket: its name disappears with the server, however that ends
        listener.listen(128)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, FORWARDED_SIGNALS)
        try:
            process = subprocess.Popen(
                # -P: the working directory must not shadow modules
                [sys.executable, "-P", "-m", "selfdistill.jobs.warm.server", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # scripts, not the server, handle an interrupt from the terminal
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _servers.append(process)  # keep a reference: the pipe closes with the object
    os.environ[VARIABLE] = name


def hand_over(function: str, params: Mapping[str, Any], threads: int) -> str | None:
    """Let a child of the server run this script (sys.argv), and end this process as the child ends.

    function, params: of the job; the server imports what they need before it forks. Return only if the script must run
    here: None in the child itself or without a server, otherwise the reason why the server did not take the job.
    """
    name = os.environ.get(VARIABLE, OFF)
    if served or name == OFF:
        return None
    with socket.socket(socket.AF_UNIX) as connection:
        try:
            connection.connect(f"\0{name}")
            check_peer(connection)
            send_request(connection, function, params, threads)
            return wait_for_end(connection)
        except OSError as error:
            return f"no answer from {name}: {error}"


def check_peer(connection: socket.socket) -> None:
    """Raise PermissionError if the peer belongs to another user; an abstract socket has no file permissions to prevent that."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if user != os.geteuid():
        raise PermissionError(f"the peer belongs to user {user}")


def send_request(connection: socket.socket, function: str, params: Mapping[str, Any], threads: int) -> None:
    """Send all that the child needs: the script, its environment, and the three standard streams of this process."""
    request = {
        "function": function,
        "params": params,
        "identity": identity(threads),
        "arguments": sys.argv,
        "directory": os.getcwd(),
        "environment": dict(os.environ),
        "umask": current_umask(),
        "began": process_start(),
    }
    data = json.dumps(request, default=str).encode() + b"\n"
    sent = socket.send_fds(connection, [data], [0, 1, 2])
    if rest := data[sent:]:  # an empty send would fail if the server has already answered and closed
        connection.sendall(rest)


def identity(threads: int) -> list[str | int]:
    """Return what script and server must have in common.

    These are the file system (a container has its own), the Python, its module path, and the threads per job.
    """
    return [os.readlink("/proc/self/ns/mnt"), sys.executable, os.environ.get("PYTHONPATH", ""), threads]


def current_umask() -> int:
    """Return the file mode mask of this process (it can only be read by setting it)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def wait_for_end(connection: socket.socket) -> str:
    """Forward signals until the child ends, then end as it did; return the reason if the server refused the job."""
    received: list[int] = []

    def forward(number: int, _: object) -> None:
        """Forward a signal to the server."""
        received.append(number)
        with suppress(OSError):
            connection.sendall(bytes([number]))

    previous = {number: signal.signal(number, forward) for number in FORWARDED_SIGNALS}
    answer, reason = {}, "the server ended"
    with connection.makefile(encoding="utf-8") as lines, suppress(OSError):
        answer = json.loads(next(lines, "{}"))
        if "child" in answer:
            end_like(json.loads(next(lines, "{}")).get("status"))
        reason = answer.get("refused", reason)
    if "child" in answer:
        end_like(None)
    for number, handler in previous.items():
        signal.signal(number, handler)
    for number in received:  # refused: the script itself must now handle the signals
        os.kill(os.getpid(), number)
    return reason


def end_like(status: int | None) -> NoReturn:
    """End this process with a child's exit status; negative: by that signal; None: the server, and so the child, was killed."""
    if status is None:
        sys.exit(f"{sys.argv[0]}: the warm process was killed, and this job with it")
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
