"""Fixtures of several test files."""

import os
import shutil
import subprocess
import sys

import pytest
from spoiled import CONFIG

from selfdistill.claims.ledger import Ledger, load_ledger
from selfdistill.study.load import load_study

HOLD = """
import sys, time
from selfdistill.jobs.locks import job_lock
with job_lock(sys.argv[1]):
    print("held", flush=True)
    time.sleep(float(sys.argv[2]))
"""


@pytest.fixture
def folder(tmp_path):
    """A copy of the config folder that a test may spoil."""
    return shutil.copytree(CONFIG, tmp_path / "config")


@pytest.fixture
def hold():
    """Start a process that holds a lock for some seconds; killed in the end."""
    processes = []

    def start(path, seconds, **environment):
        command = [sys.executable, "-c", HOLD, str(path), str(seconds)]
        process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
        processes.append(process)
        assert process.stdout.readline() == "held\n"
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait()


@pytest.fixture(scope="module")
def ledger() -> Ledger:
    return load_ledger(CONFIG / "claims.yaml")


@pytest.fixture(scope="module")
def mini():
    return load_study(CONFIG / "mini.yaml")
