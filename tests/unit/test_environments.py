"""The environments: one set of pins, locks that hold it with hashes, and images that install the lock."""

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
ENVS = ROOT / "envs"
KINDS = ("cpu", "gpu")


def canonical(name: str) -> str:
    """A package's name as indexes compare it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def pins(text: str) -> dict[str, str]:
    """Name -> version of all `name==version` lines."""
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[\w,-]+\])?==([^\s;\\]+)", text, re.MULTILINE)
    return {canonical(name): version for name, version in found}


def read(name: str) -> str:
    """A file of envs/."""
    return (ENVS / name).read_text(encoding="utf-8")


@pytest.mark.parametrize("kind", KINDS)
def test_a_lock_holds_the_pins(kind):
    asked, locked = pins(read(f"requirements-{kind}.txt")), pins(read(f"lock-{kind}.txt"))
    assert asked
    assert {name: locked.get(name) for name in asked} == asked
    assert len(locked) > len(asked)


@pytest.mark.parametrize("kind", KINDS)
def test_every_package_of_a_lock_has_a_hash(kind):
    entries = [line for line in read(f"lock-{kind}.txt").splitlines() if line and line[0] not in "# "]
    assert len(entries) == len(pins(read(f"lock-{kind}.txt")))
    assert all(line.endswith("\\") for line in entries)
    blocks = re.split(r"^(?=[A-Za-z0-9])", read(f"lock-{kind}.txt"), flags=re.MULTILINE)[1:]
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}", block) for block in blocks)


def test_both_environments_share_their_pins():
    cpu, gpu = (pins(read(f"requirements-{kind}.txt")) for kind in KINDS)
    assert cpu == {name: gpu[name] for name in cpu}, "tests and checks run in both"


@pytest.mark.parametrize(
    "name", ["lock-cpu.txt", "lock-gpu.txt", "requirements-cpu.txt", "requirements-gpu.txt"]
)
def test_no_environment_names_an_index(name):
    assert not re.search(r"://|^-|--(?:extra-)?index|--find-links", read(name), re.MULTILINE)


@pytest.mark.parametrize("name", ["Dockerfile", "apptainer.def"])
def test_an_image_installs_the_lock_and_takes_the_library_of_the_checkout(name):
    text = read(name)
    assert "--require-hashes --requirement /opt/lock-gpu.txt" in text
    assert "envs/lock-gpu.txt /opt/lock-gpu.txt" in text
    assert re.search(r"PYTHONPATH=\"?\$PWD/src", text)
    assert "python:3.11-" in text


def test_the_workflow_names_the_image_that_the_definition_says_to_build():
    image = re.search(r'^container: "(.*)"$', (ROOT / "Snakefile").read_text(), re.MULTILINE)[1]
    assert f"apptainer build {image} envs/apptainer.def" in read("apptainer.def")
    assert f"apptainer build {image} envs/apptainer.def" in (ROOT / "docs/cluster.md").read_text()
