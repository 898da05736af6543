"""Add a figure the way docs/extending.md says: a drawing function, an entry in the registry, experiments in the study file.

The test makes the page's three edits in a copy of the code and of config/ and draws the figure from there; a forgotten edit fails loudly.
"""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/extending.md").read_text().partition("## A figure\n")[2].partition("\n## ")[0]
STEP = re.compile(r'<!-- (file|insert): (\S+)(?: before: "(.*?)")? -->\n```\w*\n(.*?)```', re.DOTALL)
STEPS = STEP.findall(PAGE)
MODULE, REGISTRY, STUDY = (name for _, name, _, _ in STEPS)
DRAW = """
import sys
from pathlib import Path
import pandas
from selfdistill.report.study_data import StudyData
from selfdistill.report.drawing import draw_figure
from selfdistill.report.style import save_figure
from selfdistill.study.displays import FIGURES
from selfdistill.study.load import load_study
from selfdistill.study.shown import display_names, run_keys, runs_shown

name, folder = "last-scores", Path(sys.argv[1])
study, entry = load_study("config/mini.yaml"), FIGURES["last-scores"]
runs = run_keys(runs_shown(study, name))
training = pandas.DataFrame([{**run, "replicate": 0, "seed": 0, "step": 1, "score": 0.5} for run in run_keys(study.runs())])
data = StudyData(training=training, **display_names(study, name)).of_runs(runs)
figure, caption = draw_figure(entry.draw, data, entry.options)
save_figure(figure, folder / "a.png", folder / "a.svg")
print(caption)
"""


@pytest.fixture
def copy(tmp_path):
    """A copy of the code and of config/."""
    for folder in ("src", "config"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def perform(root, leave_out=""):
    """Make the page's edits, without the one in the file `leave_out`."""
    for kind, name, place, text in STEPS:
        path, anchor = root / name, place.encode().decode("unicode_escape")
        if name == leave_out:
            continue
        if kind == "insert":
            assert path.read_text().count(anchor) == 1, anchor
            text = path.read_text().replace(anchor, text + anchor)
        path.write_text(text)


def drawn(root):
    """The process that draws the figure with the copy's code."""
    environment = os.environ | {"PYTHONPATH": str(root / "src")}
    command = [sys.executable, "-c", DRAW, str(root)]
    return subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)


def files(root):
    """Relative path -> content of every file."""
    paths = [path for path in root.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
    return {str(path.relative_to(root)): path.read_bytes() for path in paths}


def test_a_figure_is_two_files_of_code_and_one_of_config(copy):
    before = files(copy)
    perform(copy)
    after = files(copy)
    assert {path for path in after if before.get(path) != after[path]} == {MODULE, REGISTRY, STUDY}
    done = drawn(copy)
    assert done.stdout.strip() == "Olmo3 organism: 3 runs.", done.stderr
    assert (copy / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<svg" in (copy / "a.svg").read_text()
    assert "last-scores" not in yaml.safe_load((ROOT / STUDY).read_text())["figures"]


@pytest.mark.parametrize(
    ("forgotten", "message"),
    [
        (REGISTRY, "KeyError: 'last-scores'|figures.last-scores.*allowed: figure1"),
        (MODULE, "no drawing function 'selfdistill.report.figures.scores:draw_scores'"),
        (STUDY, "figures.last-scores: is not declared"),
    ],
)
def test_a_forgotten_edit_fails_loudly(copy, forgotten, message):
    perform(copy, forgotten)
    done = drawn(copy)
    assert done.returncode != 0
    assert re.search(message, done.stderr), done.stderr
