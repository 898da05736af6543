"""The process that has imported the slow packages and forks a child per job (`jobs.warm.client` explains why, and starts it).

    python -m selfdistill.jobs.warm.server FILE_DESCRIPTOR_OF_THE_LISTENING_SOCKET

Each connection is a job. Its script sends one line of JSON (`client.send_request`) with its standard streams, then one byte per
signal that it receives. The server answers with a line `child` or `refused`, and with a line `status` at the end. If the script
dies, its connection closes and the child is killed (within seconds if the server is importing). If the server dies, the kernel
kills the children. Standard input is a pipe from Snakemake, which closes whenever Snakemake ends; the server then takes no more
jobs and ends with its last child. The server starts with SIGTERM and SIGINT blocked. A child unblocks them when it is ready, so
that no signal is lost.

Forking is safe only in a process with a single thread; this is checked before every fork.
"""

import atexit
import ctypes
import importlib
import json
import os
import runpy
import selectors
import signal
import socket
import sys
import threading
import traceback
from contextlib import suppress
from typing import Any, NoReturn

from selfdistill.jobs.run_job import load, set_threads
from selfdistill.jobs.warm import client

PR_SET_PDEATHSIG = 1
PREAMBLE_MODULES = ("snakemake.iocontainers", "snakemake.logging")
"""Modules that Snakemake's preamble of every script imports."""
REQUEST_TIMEOUT = 10.0
"""Seconds within which a script must send its request."""
LIBC = ctypes.CDLL(None)


class Refused(Exception):
    """The server does not take a job; its script then runs it."""


class Unfit(Refused):
    """The server cannot take this or any later job."""


class Connection:
    """A script that waits for its child: the socket to the script and, after the fork, the child and its pidfd."""

    def __init__(self, link: socket.socket) -> None:
        self.link = link
        self.child = self.pidfd = -1
        self.streams: list[int] = []
        """The script's standard streams, until the job is forked or refused."""

    def read_request(self) -> tuple[dict[str, Any], bytes]:
        """Return the request and the signals received with it; raise OSError or ValueError if it is incomplete."""
        self.link.settimeout(REQUEST_TIMEOUT)
        data, self.streams, _, _ = socket.recv_fds(self.link, 1 << 16, 3)
        while data and b"\n" not in data:
            chunk = self.link.recv(1 << 16)
            data = data + chunk if chunk else b""
        line, _, signals = data.partition(b"\n")
        self.link.settimeout(None)
        return json.loads(line), signals

    def close_streams(self) -> None:
        """Close the script's streams; the child has its own copies."""
        for stream in self.streams:
            os.close(stream)
        self.streams = []

    def answer(self, **message: Any) -> None:
        """Send the script one line, unless it has died."""
        with suppress(OSError):
            self.link.sendall(json.dumps(message).encode() + b"\n")

    def close(self) -> None:
        """Close the descriptors."""
        self.link.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)


class Server:
    """Event loop: new scripts, their signals and deaths, the end of children, and the end of Snakemake."""

    def __init__(self, listener: socket.socket, lifeline: int) -> None:
        self.listener = listener
        self.open = True
        self.connections: set[Connection] = set()
        self.selector = selectors.DefaultSelector()
        self.selector.register(listener, selectors.EVENT_READ, self.take_job)
        self.selector.register(lifeline, selectors.EVENT_READ, self.close)

    def run(self) -> None:
        """Serve until Snakemake has ended and no child is left."""
        while self.open or self.connections:
            for key, _ in self.selector.select():
                if (
                    self.selector.get_map().get(key.fd) is key
                ):  # an earlier event of this round may have closed it
                    key.data()

    def close(self) -> None:
        """Take no more jobs; scripts that wait or come later run theirs."""
        self.open = False
        for descriptor in (self.listener, sys.stdin.fileno()):
            self.selector.unregister(descriptor)
        self.listener.close()

    def take_job(self) -> None:
        """Accept a script, import what its job needs, and fork its child."""
        connection = Connection(self.listener.accept()[0])
        try:
            client.check_peer(connection.link)
            request, signals = connection.read_request()
            prepare(request)
            self.fork(connection, request)
        except Refused as reason:
            connection.answer(refused=str(reason))
            if isinstance(reason, Unfit) and self.open:
                self.close()
        except (OSError, ValueError) as error:
            connection.answer(refused=f"{type(error).__name__}: {error}")
        else:
            self.deliver(connection, signals)
            return
        finally:
            connection.close_streams()
        connection.close()

    def fork(self, connection: Connection, request: dict[str, Any]) -> None:
        """Start the child of a job; return in the server only. Raise OSError if no process can be created."""
        sys.stdout.flush()
        sys.stderr.flush()
        parent = os.getpid()
        child = os.fork()
        if not child:
            try:
                end_with(parent)
                for other in (connection, *self.connections):
                    other.close()
                self.listener.close()
                self.selector.close()
                client.served = request["began"]
                run_job(request, connection.streams)
            except Exception:  # noqa: BLE001 (of this module: the script's own end in run_script)
                traceback.print_exc()
            finally:
                os._exit(1)
        try:
            connection.child, connection.pidfd = child, os.pidfd_open(child)
        except OSError:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise
        self.connections.add(connection)
        self.selector.register(connection.pidfd, selectors.EVENT_READ, lambda: self.finish(connection))
        self.selector.register(connection.link, selectors.EVENT_READ, lambda: self.listen(connection))
        connection.answer(child=child)

    def listen(self, connection: Connection) -> None:
        """Deliver signals to a child; kill it if its script has died."""
        try:
            signals = connection.link.recv(64)
        except OSError:
            signals = b""
        if not signals:
            self.selector.unregister(connection.link)
            signals = bytes([signal.SIGKILL])
        self.deliver(connection, signals)

    def deliver(self, connection: Connection, signals: bytes) -> None:
        """Send signals to a child. If it has ended, its process id is still reserved, so no other process is hit."""
        for number in signals:
            os.kill(connection.child, number)

    def finish(self, connection: Connection) -> None:
        """Report to a script how its child ended."""
        _, status = os.waitpid(connection.child, 0)
        connection.answer(status=os.waitstatus_to_exitcode(status))
        self.selector.unregister(connection.pidfd)
        with suppress(KeyError):
            self.selector.unregister(connection.link)
        self.connections.remove(connection)
        connection.close()


def prepare(request: dict[str, Any]) -> None:
    """Import what a job needs; raise Refused if forking is impossible or unsafe."""
    if request["identity"] != client.identity(client.THREADS):
        raise Refused("script and server differ in file system, Python, PYTHONPATH or number of threads")
    try:
        for module in PREAMBLE_MODULES:
            importlib.import_module(module)
        load(request["function"], request["params"])
    except Exception as error:
        raise Refused(f"the server cannot import what it needs: {error!r}") from error
    torch = sys.modules.get("torch")
    if torch is not None and (torch.version.cuda or torch.version.hip):
        raise Unfit("this PyTorch is built for GPUs")
    if (threads := len(os.listdir("/proc/self/task"))) > 1:
        raise Unfit(f"the server has {threads} threads, which a fork would not copy")


def end_with(parent: int) -> None:
    """Let the kernel kill this process when its parent `parent` ends."""
    LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:  # it ended before the call above
        os._exit(1)


def run_job(request: dict[str, Any], streams: list[int]) -> NoReturn:
    """Take the place of the script in the child, run it, and end as it would have ended."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.environ.clear()
    os.environ.update(request["environment"])
    os.chdir(request["directory"])
    os.umask(request["umask"])
    sys.argv = request["arguments"]
    sys.path.insert(0, os.path.dirname(os.path.abspath(sys.argv[0])))
    if numpy := sys.modules.get("numpy"):
        numpy.random.seed()  # as in a new process; `random` reseeds itself after a fork, and torch starts from a constant
    status = run_script(sys.argv[0])
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    if status < 0:
        signal.signal(-status, signal.SIG_DFL)
        os.kill(os.getpid(), -status)
    os._exit(status & 0xFF)  # skips the destruction of torch's objects, which takes 0.1 s


def run_script(path: str) -> int:
    """Run a script as `__main__` and return its exit status, negative if a signal ends it."""
    try:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, client.FORWARDED_SIGNALS)
        runpy.run_path(path, run_name="__main__")
    except SystemExit as end:
        if isinstance(end.code, int):
            return end.code
        if end.code is not None:
            print(end.code, file=sys.stderr)
        return int(end.code is not None)
    except BaseException as error:  # noqa: BLE001 (reported as by the interpreter, and ends the process)
        sys.excepthook(type(error), error, error.__traceback__)
        return -signal.SIGINT if isinstance(error, KeyboardInterrupt) else 1
    return 0


def main() -> None:
    """Serve at the socket that was passed on as file descriptor."""
    set_threads(client.THREADS)
    os.environ["JE_ARROW_MALLOC_CONF"] = (
        "background_thread:false"  # a thread of pyarrow's allocator would forbid forking
    )
    listener = socket.socket(fileno=int(sys.argv[1]))
    Server(listener, sys.stdin.fileno()).run()


if __name__ == "__main__":
    main()
