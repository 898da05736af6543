"""The package beside TRL alone: the page's example and every module that the page names, where nothing else is installed."""

import importlib.metadata
import json
import os
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import tiny
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/use_in_trl.md").read_text(encoding="utf-8")


def required(extra: str) -> set[str]:
    """Return the distributions that `pip install ".[extra]"` brings, with all that they require, as canonical names."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    waiting = [*project["dependencies"], *project["optional-dependencies"][extra]]
    found: dict[str, set[str]] = {}
    while waiting:
        one = Requirement(waiting.pop())
        name = canonicalize_name(one.name)
        new = {"", *one.extras} - found.setdefault(name, set())
        found[name] |= new
        for other in map(Requirement, importlib.metadata.requires(name) or []):
            if other.marker is None or any(other.marker.evaluate({"extra": own}) for own in new):
                waiting.append(str(other))
    return set(found)


@pytest.fixture(scope="module")
def beside_trl(tmp_path_factory) -> dict[str, str]:
    """The environment of a process that finds this package, what its extra `trl` brings, and no other package."""
    folder = tmp_path_factory.mktemp("packages")
    for name in required("trl"):
        distribution = importlib.metadata.distribution(name)
        for top in {file.parts[0] for file in distribution.files} - {"..", "__pycache__"}:
            if not (folder / top).exists():
                (folder / top).symlink_to(distribution.locate_file(top))
    return os.environ | {"PYTHONPATH": f"{folder}{os.pathsep}{ROOT / 'src'}"}


def alone(environment: dict[str, str], *arguments: str, **options) -> subprocess.CompletedProcess:
    """Run Python without the packages of its own environment."""
    command = [sys.executable, "-S", *arguments]
    return subprocess.run(command, env=environment, capture_output=True, text=True, **options)


def test_the_environment_lacks_what_the_study_needs_beside(beside_trl):
    for name in ("snakemake", "statsmodels", "scipy", "matplotlib", "math_verify"):
        assert f"No module named '{name}'" in alone(beside_trl, "-c", f"import {name}").stderr


def test_every_module_of_the_page_imports_beside_trl_alone(beside_trl):
    modules = sorted(set(re.findall(r"^\| `(selfdistill[\w.]+)`", PAGE, re.MULTILINE)))
    assert len(modules) == 5
    done = alone(beside_trl, "-c", f"import {', '.join(modules)}")
    assert done.returncode == 0, done.stderr[-2000:]


def test_the_example_of_the_page_trains_beside_trl_alone(beside_trl, tmp_path):
    (code,) = re.findall(r"<!-- file: train.py -->\n```python\n(.*?)```", PAGE, re.DOTALL)
    (tmp_path / "train.py").write_text(code, encoding="utf-8")
    rows = [{"prompt": f"find x : x *{n} = 4", "answer": str(n)} for n in range(1, 9)]
    (tmp_path / "problems.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    base = tiny.save_base(tmp_path / "base")
    done = alone(beside_trl, "train.py", str(base), "problems.jsonl", "2", "16", cwd=tmp_path)
    assert done.returncode == 0, done.stderr[-3000:]
    assert not tiny.same_weights(base, tmp_path / "trained/model")
    assert "epistemic/without_demonstration" in done.stdout
