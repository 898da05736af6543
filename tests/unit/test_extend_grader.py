"""Adding a grader, as docs/grading.md says: one module and one line of the registry; what is forgotten fails loudly."""

import sys
from pathlib import Path

import pytest

from selfdistill.grading.graders import Grader
from selfdistill.study.jobs import evaluation_params
from selfdistill.study.load import load_study
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.graders import GRADERS, grader_module

MODULE = '''"""Grader `last-word`: the last word of the response, as it stands."""


def extract(response):
    return response.split()[-1] if response.split() else None


def decide(answer, gold):
    return answer == gold if answer.isalpha() else None


def compare(answer, gold):
    return ("correct" if answer.strip(".") == gold else "wrong"), ""
'''
CONFIG = Path(__file__).parents[2] / "config"


@pytest.fixture
def module(tmp_path, monkeypatch):
    """The grader's one file, found as a module of the package by this process and by its workers."""
    (tmp_path / "last_word.py").write_text(MODULE)
    package = sys.modules["selfdistill.grading"]
    monkeypatch.setattr(package, "__path__", [*package.__path__, str(tmp_path)])
    yield "grading.last_word"
    sys.modules.pop("selfdistill.grading.last_word", None)


def study_with(tmp_path, grader):
    """The test study with this grader for samples and rewards."""
    folder = tmp_path / "config"
    folder.mkdir()
    for name in ("models", "benchmarks"):
        (folder / f"{name}.yaml").write_text((CONFIG / f"{name}.yaml").read_text())
    text = (CONFIG / "test.yaml").read_text()
    text = text.replace("benchmarks:\n", f"benchmarks:\n  grader: {grader}\n", 1)
    (folder / "test.yaml").write_text(text.replace("  rl:\n", f"  rl:\n    grader: {grader}\n", 1))
    return load_study(folder / "test.yaml")


def test_one_file_and_one_line_add_a_grader(module, tmp_path, monkeypatch):
    monkeypatch.setitem(GRADERS, "last-word", module)
    with Grader("last-word") as grader:
        grades = grader.grade(["it is east", "it is west", ""], [["east"]] * 3)
    assert [grade.outcome for grade in grades] == ["correct", "wrong", "no_answer"]
    study = study_with(tmp_path, "last-word")
    assert grader_module("last-word") == module
    assert evaluation_params(study, study.base_runs()[0], 0).grader == "last-word"
    assert study.settings_for(study.runs(methods=("grpo",))[0]).grader == "last-word"


def test_a_forgotten_line_is_named_with_what_is_allowed(module, tmp_path):
    allowed = "allowed: strict, authors-reward, authors-eval, mcq"
    with pytest.raises(ValueError, match=f"unknown grader 'last-word'; {allowed}"):
        Grader("last-word")
    with pytest.raises(StudyError, match=f"unknown grader 'last-word'; {allowed}"):
        study_with(tmp_path, "last-word")


def test_a_forgotten_file_is_named(monkeypatch):
    monkeypatch.setitem(GRADERS, "last-word", "grading.last_word")
    with pytest.raises(ModuleNotFoundError, match="selfdistill.grading.last_word"):
        Grader("last-word")
