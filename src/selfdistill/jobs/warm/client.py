"""Jobs start in milliseconds: a script hands its work to a process that has imported torch, transformers and TRL before.

Importing them costs a job 2 to 3 seconds, more than many jobs of a small study compute. `start_server` (Snakefile, onstart) starts
`selfdistill.jobs.warm.server`, which imports what the first job of each kind asks for and forks one child a job. A script's `run_job` calls
`hand_over`: the script then only waits for the child that runs it, passes SIGTERM and SIGINT on to it, and ends as it ends. The
child ends with the script and with the server, however they end; the server ends when Snakemake has ended and no script waits.

A script runs by itself, as without all this, where nothing is announced in the variable SELFDISTILL_WARM, where it is `off`, and
where the server does not answer or does not take the job (another Python, another number of threads, a PyTorch built for GPUs, whose state
cannot be forked). Linux only.
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
"""Name of the server's socket; `off` before the call of Snakemake: no server."""
OFF = "off"
PASSED_ON = (signal.SIGTERM, signal.SIGINT)
THREADS = 1
"""Threads of the server's numerical libraries, and so of the jobs that it takes."""


served: float | None = None
"""In a child of the server: when its script began (Unix time in seconds). None in every other process."""
_servers: list[subprocess.Popen] = []


def script_began() -> float:
    """Return when this job's script began (Unix time in seconds), also in a child of the server."""
    return served or process_start()


def start_server(log: str | Path) -> None:
    """Start the server and announce it to the scripts by SELFDISTILL_WARM; its own output goes to `log`.

    It costs a bare Python until a script asks for it. It holds the reading end of a pipe from this process, which tells it when this
    process has ended.
    """
    if os.environ.get(VARIABLE) == OFF or sys.platform != "linux":
        return
    name = f"selfdistill-{secrets.token_hex(16)}"
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    with socket.socket(socket.AF_UNIX) as listener, Path(log).open("a", encoding="utf-8") as output:
        listener.bind(f"\0{name}")  # no file: Linux forgets the name with the server, however that ends
        listener.listen(128)
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, PASSED_ON)
        try:
            process = subprocess.Popen(
                # -P: the working directory must not shadow modules
                [sys.executable, "-P", "-m", "selfdistill.jobs.warm.server", str(listener.fileno())],
                stdin=subprocess.PIPE,
                stdout=output,
                stderr=output,
                pass_fds=[listener.fileno()],
                start_new_session=True,  # an interrupt from the terminal is the scripts' business
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
    _servers.append(process)  # kept, for the pipe closes with the object
    os.environ[VARIABLE] = name


def hand_over(function: str, params: Mapping[str, Any], threads: int) -> str | None:
    """Have this script (sys.argv) run by a child of the server, and end this process as the child ends.

    function, params: of the job; the server imports what they need before it forks. Return only where the script must
    run here: None in the child itself and where no server is announced, else why the server did not take it.
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
    """Raise PermissionError where another user is at the other end: a name without a file has no permissions that would keep others out."""
    size = struct.calcsize("3i")
    _, user, _ = struct.unpack("3i", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, size))
    if user != os.geteuid():
        raise PermissionError(f"it belongs to user {user}")


def send_request(connection: socket.socket, function: str, params: Mapping[str, Any], threads: int) -> None:
    """All that the child needs: the script, its surroundings, and the three standard streams of this process."""
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
    if rest := data[sent:]:  # sending nothing fails where the server has answered and closed already
        connection.sendall(rest)


def identity(threads: int) -> list[str | int]:
    """What script and server must have in common: the file system (a container has its own), the Python, where it finds its modules,
    the threads of each job.
    """
    return [os.readlink("/proc/self/ns/mnt"), sys.executable, os.environ.get("PYTHONPATH", ""), threads]


def current_umask() -> int:
    """The file mode mask of this process (it can only be read by setting it)."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


def wait_for_end(connection: socket.socket) -> str:
    """Pass signals on until the child ends, then end as it did. Returns the reason where the server did not take the job."""
    received: list[int] = []

    def pass_on(number: int, _: object) -> None:
        received.append(number)
        with suppress(OSError):
            connection.sendall(bytes([number]))

    previous = {number: signal.signal(number, pass_on) for number in PASSED_ON}
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
    for number in received:
        os.kill(os.getpid(), number)
    return reason


def end_like(status: int | None) -> NoReturn:
    """End this process with a child's exit status (negative: by that signal). None: the server was killed, and its children with it."""
    if status is None:
        sys.exit(f"{sys.argv[0]}: the warm process that ran this job was killed, and the job with it")
    if status < 0:
        if -status not in (signal.SIGKILL, signal.SIGSTOP):
            signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    sys.exit(status)
