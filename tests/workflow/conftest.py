"""A copy of the workflow in a folder of its own, with Snakemake to run in it."""

import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pandas
import pytest

REPOSITORY = Path(__file__).parents[2]
PARTS = ("Snakefile", "rules", "workflow", "profiles", "slurm", "config", "docs", "envs", "src")


@dataclass(frozen=True)
class Workspace:
    """A copy of the workflow; the library that it uses is its own copy too."""

    root: Path

    @property
    def environment(self) -> dict[str, str]:
        """The environment of a call in this copy."""
        return os.environ | {"PYTHONPATH": str(self.root / "src"), "OMP_NUM_THREADS": "1"}

    def command(self, *arguments: str) -> list[str]:
        """A Snakemake command line."""
        return [sys.executable, "-m", "snakemake", *arguments]

    def start(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.Popen:
        """Start Snakemake; its output goes to snakemake.log.

        environment: variables beside those of the workspace.
        """
        with (self.root / "snakemake.log").open("a") as log:
            return subprocess.Popen(
                self.command(*arguments),
                cwd=self.root,
                env=self.environment | (environment or {}),
                stdout=log,
                stderr=log,
            )

    def snakemake(
        self, *arguments: str, fails: bool = False, environment: dict[str, str] | None = None
    ) -> str:
        """Run Snakemake to its end and return all that it printed; it must succeed (or fail, with `fails`).

        environment: variables beside those of the workspace.
        """
        done = subprocess.run(
            self.command(*arguments),
            cwd=self.root,
            env=self.environment | (environment or {}),
            capture_output=True,
            text=True,
        )
        output = done.stdout + done.stderr
        assert (done.returncode != 0) == fails, output
        return output

    def planned(self, *arguments: str) -> dict[str, int]:
        """Jobs that a dry run would do: rule -> number."""
        output = self.snakemake("-n", *arguments)
        stats = output.partition("Job stats:")[2].partition("total")[0]
        return {rule: int(count) for rule, count in re.findall(r"^(\w+) +(\d+)$", stats, re.MULTILINE)}

    def edit(self, name: str, old: str, new: str) -> None:
        """Replace a text that stands in a file."""
        path = self.root / name
        text = path.read_text()
        assert old in text, f"{old!r} is not in {name}"
        path.write_text(text.replace(old, new, 1))


def copy_workflow(target: Path) -> Workspace:
    """Copy the workflow, without results, into a new folder."""
    target.mkdir(parents=True)
    for part in PARTS:
        source = REPOSITORY / part
        if source.is_symlink():
            (target / part).symlink_to(os.readlink(source))
        elif source.is_dir():
            shutil.copytree(source, target / part, ignore=shutil.ignore_patterns("__pycache__", "*.egg-info"))
        else:
            shutil.copy2(source, target / part)
    return Workspace(target)


def assert_same_results(*places: Path) -> list[str]:
    """Two results folders have the same weights, tables, figures and numbers, bit for bit but for what a clock measured.

    Return the names of the files.
    """
    names = [
        sorted(
            str(path.relative_to(place))
            for path in place.rglob("*")
            if path.suffix in {".safetensors", ".parquet", ".csv", ".png", ".svg"}
            and "resume" not in path.parts
        )
        for place in places
    ]
    assert names[0] == names[1]
    for name in names[0]:
        files = [place / name for place in places]
        if name.endswith("training.parquet"):
            frames = [pandas.read_parquet(file) for file in files]
            clocks = [column for column in frames[0] if "seconds" in column]
            pandas.testing.assert_frame_equal(*(frame.drop(columns=clocks) for frame in frames))
        else:
            assert files[0].read_bytes() == files[1].read_bytes(), name
    return names[0]


@pytest.fixture
def workspace(tmp_path):
    """A fresh copy of the workflow."""
    return copy_workflow(tmp_path / "study")


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """The end-to-end run of config/test.yaml: every rule, really run. Tests read it and change nothing in it."""
    study = copy_workflow(tmp_path_factory.mktemp("end-to-end") / "study")
    output = study.snakemake("--config", "study=test")
    (study.root / "first-call.log").write_text(output)
    return study
