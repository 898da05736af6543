"""The warm process (selfdistill.jobs.warm.client): its children do and end as the scripts that hand over to them, however something ends."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from selfdistill.jobs.warm import client as warm

HEAD = """
import os, sys
from selfdistill.jobs.warm.client import hand_over
refused = hand_over("slow_import:run", {}, 1)
"""
JOB = "def run(task): pass\nrun.late = lambda params: ()\n"
SAY = "print(os.getppid(), refused)"
WAITING = """
import signal, time
def stop(*_):
    print("checkpoint", flush=True)
    raise SystemExit(143)
if "deaf" not in sys.argv:
    signal.signal(signal.SIGTERM, stop)
open(f"running-{os.getpid()}", "w").close()
time.sleep(60)
"""
OWNER = """
import sys, time
from selfdistill.jobs.warm.client import start_server
start_server("warm.log")
import os
print(os.environ["SELFDISTILL_WARM"], flush=True)
sys.stdin.read()
"""


def wait_for(condition, seconds=20.0):
    """What `condition` gives as soon as it is true."""
    deadline = time.monotonic() + seconds
    while not (value := condition()):
        assert time.monotonic() < deadline, "nothing happened"
        time.sleep(0.01)
    return value


def gone(process: psutil.Process) -> bool:
    """Whether a process has ended, even if nobody has asked for its status yet."""
    try:
        return process.status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


class Place:
    """A folder with a server that belongs to a process of its own (in a study: Snakemake), and scripts to run there."""

    def __init__(self, root: Path) -> None:
        self.root = root
        (root / "slow_import.py").write_text(JOB + "import os\nimported_by = os.getpid()\n")
        package = str(Path(warm.__file__).parents[3])
        self.environment = {name: text for name, text in os.environ.items() if name != warm.VARIABLE}
        self.environment["PYTHONPATH"] = os.pathsep.join((str(root), package))
        self.owner = subprocess.Popen(
            [sys.executable, "-c", OWNER],
            cwd=root,
            env=self.environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.name = self.owner.stdout.readline().strip()
        self.environment[warm.VARIABLE] = self.name
        (self.server,) = psutil.Process(self.owner.pid).children()

    def start(self, body: str, *arguments: str, head: str = HEAD, **environment: str) -> subprocess.Popen:
        """Start a script with this body."""
        path = self.root / f"script-{len(list(self.root.glob('script-*')))}.py"
        path.write_text(head + body)
        return subprocess.Popen(
            [sys.executable, str(path), *arguments],
            cwd=self.root,
            env=self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, body: str, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run a script to its end: exit status, output, errors."""
        process = self.start(body, *arguments, **environment)
        output, errors = process.communicate(timeout=60)
        return process.returncode, output, errors

    def answers(self) -> bool:
        """Whether anything listens at the announced name."""
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(f"\0{self.name}") == 0

    def waiting(self, *arguments: str) -> tuple[subprocess.Popen, psutil.Process]:
        """A script that waits, and its child, which is at work."""
        script = self.start(WAITING, *arguments)
        mark = wait_for(lambda: next(self.root.glob("running-*"), None))
        mark.unlink()
        child = psutil.Process(int(mark.name.partition("-")[2]))
        assert child.ppid() == self.server.pid
        return script, child


@pytest.fixture
def interruptible():
    """Processes started here do not ignore SIGINT, as they would where the tests run in the background of a shell."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def place(tmp_path, interruptible):
    """A folder with a running server; nothing may be left of it."""
    place = Place(tmp_path)
    yield place
    place.owner.kill()
    place.owner.wait()
    place.owner.stdout.close()
    wait_for(lambda: gone(place.server))


def test_a_script_runs_in_a_child_with_its_own_surroundings(place):
    body = """
import json, slow_import, warnings
print(json.dumps({"pid": os.getpid(), "parent": os.getppid(), "importer": slow_import.imported_by, "refused": refused,
    "directory": os.getcwd(), "word": os.environ["WORD"], "umask": os.umask(0), "arguments": sys.argv, "name": __name__,
    "path": sys.path[0], "blocked": len(__import__("signal").pthread_sigmask(0, []))}))
print("an error", file=sys.stderr)
"""
    status, output, errors = place.run(body, "--flag", WORD="ä")
    seen = json.loads(output)
    assert (status, errors) == (0, "an error\n")
    assert seen["parent"] == seen["importer"] == place.server.pid
    assert seen["pid"] != place.server.pid
    assert (seen["refused"], seen["word"], seen["name"], seen["blocked"]) == (None, "ä", "__main__", 0)
    assert seen["directory"] == seen["path"] == str(place.root)
    assert seen["arguments"] == [str(place.root / "script-0.py"), "--flag"]


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ("", 0, ""),
        ("sys.exit(143)", 143, ""),
        ("sys.exit('no such thing')", 1, "no such thing\n"),
        ("raise ValueError('wrong')", 1, "ValueError: wrong\n"),
        ("os.kill(os.getpid(), 9)", -9, ""),
        ("os.kill(os.getpid(), 11)", -11, ""),
        ("os._exit(7)", 7, ""),
        ("import atexit; atexit.register(print, 'bye', file=sys.stderr)", 0, "bye\n"),
    ],
)
def test_a_script_ends_as_its_child(place, body, status, text):
    ended, _, errors = place.run(body)
    assert ended == status
    assert errors.endswith(text)


def test_jobs_run_side_by_side_and_know_when_their_script_began(place):
    body = """
import time
from selfdistill.jobs.warm import client as warm
print(time.time() - warm.script_began())
time.sleep(1)
"""
    (place.root / "slow_import.py").write_text(JOB + "import time\ntime.sleep(0.5)\n")
    begun = time.monotonic()
    scripts = [place.start(body) for _ in range(3)]
    elapsed = [float(script.communicate()[0]) for script in scripts]
    assert time.monotonic() - begun < 3.4
    assert all(seconds > 0.4 for seconds in elapsed), "the import in the server lies between"


def test_what_a_job_imports_late_is_imported_by_the_server(place):
    (place.root / "slow_import.py").write_text(JOB.replace("()\n", "(params['module'],)\n"))
    (place.root / "later.py").write_text("import os\nimported_by = os.getpid()\n")
    head = HEAD.replace("{}", "{'module': 'later'}")
    script = place.start("import later\nprint(later.imported_by)", head=head)
    assert script.communicate(timeout=20)[0] == f"{place.server.pid}\n"


def test_sigterm_reaches_the_child_and_is_waited_for(place):
    script, child = place.waiting()
    script.terminate()
    output, _ = script.communicate(timeout=20)
    assert (script.returncode, output) == (143, "checkpoint\n")
    assert gone(child)


def test_a_signal_that_nothing_handles_ends_child_and_script(place):
    for number in (signal.SIGTERM, signal.SIGINT):
        script, child = place.waiting("deaf")
        script.send_signal(number)
        _, errors = script.communicate(timeout=20)
        assert script.returncode == -number
        assert ("KeyboardInterrupt" in errors) == (number == signal.SIGINT)
        assert gone(child)


def test_the_child_of_a_killed_script_is_killed(place):
    script, child = place.waiting()
    other, survivor = place.waiting()
    script.kill()
    script.communicate()
    wait_for(lambda: gone(child))
    assert survivor.is_running()
    other.terminate()
    assert other.communicate()[0] == "checkpoint\n"


def test_children_and_scripts_of_a_killed_server_end(place):
    script, child = place.waiting()
    place.server.kill()
    _, errors = script.communicate(timeout=20)
    assert script.returncode == 1
    assert "was killed" in errors
    wait_for(lambda: gone(child))
    status, output, _ = place.run("print(refused)")  # later scripts run by themselves
    assert status == 0
    assert "no answer" in output


def test_the_server_ends_with_its_owner_but_not_before_its_children(place):
    script, child = place.waiting()
    place.owner.kill()
    wait_for(lambda: not place.answers())
    assert child.is_running()
    assert "no answer" in place.run("print(refused)")[1]
    script.terminate()
    assert script.communicate(timeout=20)[0] == "checkpoint\n"
    assert script.returncode == 143
    wait_for(lambda: gone(place.server))


@pytest.mark.parametrize("end", ["close", "kill", "interrupt"])
def test_a_server_without_jobs_ends_with_its_owner(place, end):
    place.server.send_signal(signal.SIGTERM)  # not its business
    if end == "close":
        place.owner.stdin.close()
    else:
        place.owner.send_signal({"kill": signal.SIGKILL, "interrupt": signal.SIGINT}[end])
    wait_for(lambda: gone(place.server))
    assert not place.answers()


@pytest.mark.parametrize(
    ("old", "new", "environment", "reason"),
    [
        ("1)", "2)", {}, "number of threads"),
        ("1)", "1)", {"PYTHONPATH": str(Path(warm.__file__).parents[3])}, "differ in file system, Python"),
        ("slow_import:", "no_such_module:", {}, "No module named 'no_such_module'"),
        ("1)", "1)", {warm.VARIABLE: warm.OFF}, "None"),
        ("1)", "1)", {warm.VARIABLE: "selfdistill-none"}, "no answer from selfdistill-none"),
    ],
)
def test_a_script_runs_by_itself_where_the_server_does_not_take_it(place, old, new, environment, reason):
    script = place.start(SAY, head=HEAD.replace(old, new), **environment)
    output, errors = script.communicate(timeout=20)
    assert (script.returncode, errors) == (0, "")
    assert output.startswith(f"{os.getpid()} ")
    assert reason in output


def test_a_server_with_threads_takes_no_job(place):
    (place.root / "slow_import.py").write_text(
        JOB + "import threading, time\nthreading.Thread(target=time.sleep, args=(9,), daemon=True).start()\n"
    )
    status, output, _ = place.run(SAY)
    assert status == 0
    assert output == f"{os.getpid()} the server has 2 threads, which a fork would not copy\n"
    wait_for(lambda: gone(place.server))


def test_no_job_is_forked_from_a_pytorch_that_is_built_for_gpus(place):
    fake = (
        JOB
        + "import sys, types\nsys.modules['torch'] = types.SimpleNamespace(version=types.SimpleNamespace(cuda='13.0', hip=None))\n"
    )
    (place.root / "slow_import.py").write_text(fake)
    assert place.run(SAY)[1] == f"{os.getpid()} this PyTorch is built for GPUs\n"
    wait_for(lambda: gone(place.server))


def test_an_incomplete_request_leaves_the_server_at_work(place):
    for data in (b"", b"{", b"nonsense\n"):
        with socket.socket(socket.AF_UNIX) as connection:
            connection.connect(f"\0{place.name}")
            connection.sendall(data)
    assert place.run("print(refused)")[1] == "None\n"


def test_a_socket_of_another_user_is_not_trusted():
    with pytest.MonkeyPatch.context() as patch, pytest.raises(PermissionError, match="to user"):
        patch.setattr(os, "geteuid", lambda: -1)
        warm.check_peer(socket.socketpair()[0])


def test_no_server_is_started_where_it_is_switched_off(monkeypatch, tmp_path):
    monkeypatch.setenv(warm.VARIABLE, warm.OFF)
    warm.start_server(tmp_path / "warm.log")
    assert not (tmp_path / "warm.log").exists()
