"""Every addition of docs/extending.md, made the way the page says: few files, it runs, and what is forgotten fails loudly."""

import re
from pathlib import Path

import pandas
import pytest

from .conftest import REPOSITORY, Workspace

PAGE = REPOSITORY / "docs/extending.md"
STEP = re.compile(r'<!-- (file|insert): (\S+)(?: before: "(.*?)")? -->\n```\w*\n(.*?)```', re.DOTALL)
CODE_FILES = {
    "A teacher context": 2,
    "A training method": 4,
    "A model family": 2,
    "A benchmark": 0,
    "A figure": 2,
}
"""Heading -> files of code that it may touch (DESIGN: the measure of the house); one of config beside them."""
CONFIG_FILES = {
    "A teacher context": 1,
    "A training method": 1,
    "A model family": 2,
    "A benchmark": 2,
    "A figure": 1,
}


def steps_of(heading: str) -> list[tuple[str, str, str, str]]:
    """(kind, file, text before which to insert, text) of each step of a recipe."""
    section = PAGE.read_text().partition(f"## {heading}\n")[2].partition("\n## ")[0]
    return STEP.findall(section)


def perform(study: Workspace, heading: str, leave_out: str = "") -> set[str]:
    """Make an addition, without the steps in the file `leave_out`; the files touched."""
    touched = set()
    for kind, name, place, text in steps_of(heading):
        if name == leave_out:
            continue
        touched.add(name)
        if kind == "file":
            (study.root / name).write_text(text)
        else:
            anchor = place.encode().decode("unicode_escape")
            before = (study.root / name).read_text().partition(anchor)[0]
            inserted = (
                text if before.endswith("\n") else text.rstrip("\n")
            )  # within a line, or lines of its own
            study.edit(name, anchor, inserted + anchor)
    return touched


@pytest.mark.parametrize("heading", CODE_FILES)
def test_an_addition_touches_few_files(workspace, heading):
    touched = perform(workspace, heading)
    config = {name for name in touched if name.startswith("config/")}
    assert len(touched - config) <= CODE_FILES[heading]
    assert 0 < len(config) <= CONFIG_FILES[heading]


RUN = "results/test/runs/{}/samples/step-2.parquet"
TARGETS = {
    "A teacher context": "r1-test/sdpo/half-solution/fixed/chain/full/default/replicate-0/seed-0",
    "A training method": "r1-test/late/solution/fixed/chain/full/default/replicate-0/seed-0",
    "A model family": "plain-test/grpo/none/none/chain/full/default/replicate-0/seed-0",
}


@pytest.mark.parametrize("heading", TARGETS)
def test_an_addition_trains_and_is_evaluated(workspace, heading):
    perform(workspace, heading)
    target = RUN.format(TARGETS[heading])
    workspace.snakemake(target, "--config", "study=test")
    samples = pandas.read_parquet(workspace.root / target)
    assert set(samples["step"]) == {2}
    training = pandas.read_parquet(Path(workspace.root / target).parents[1] / "training.parquet")
    assert training["loss"].notna().all()


FORGOTTEN = [
    (
        "A teacher context",
        "src/selfdistill/vocabulary/contexts.py",
        "'half-solution' is not allowed; allowed: ",
    ),
    (
        "A training method",
        "src/selfdistill/study/methods/__init__.py",
        "'late' is not allowed; allowed: sft, grpo, sdpo",
    ),
    (
        "A training method",
        "src/selfdistill/training/late.py",
        "selfdistill.training.late:train_late is declared, but there is no such function",
    ),
    (
        "A model family",
        "src/selfdistill/vocabulary/families.py",
        "'plain-tags' is not allowed; allowed: r1, qwen3, olmo3",
    ),
]


@pytest.mark.parametrize(("heading", "left_out", "message"), FORGOTTEN)
def test_what_is_forgotten_fails_loudly_before_any_job(workspace, heading, left_out, message):
    perform(workspace, heading, left_out)
    output = workspace.snakemake("-n", "--config", "study=test", fails=True)
    assert message in output


def test_a_missing_function_of_a_context_is_named_before_any_job(workspace):
    perform(workspace, "A teacher context", "src/selfdistill/training/teacher.py")
    output = workspace.snakemake("-n", "--config", "study=test", fails=True)
    assert "selfdistill.training.teacher:sibling_half" in output
