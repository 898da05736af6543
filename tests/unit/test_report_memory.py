"""The jobs behind the numbers, the ledger and the report do not read the responses of the paper's study into memory."""

import re
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from report_memory import growths, paper  # noqa: E402

MEGABYTES = {"estimate": 350, "judge": 150, "make_report": 250}
"""Growth of a job on 300 MB of responses; benchmarks/report_memory.py measures it on 2 GB."""


@pytest.fixture(scope="module")
def measured(tmp_path_factory):
    """Job -> growth in MB on the samples of a model of the paper's study at all its steps."""
    return dict(growths("qwen3-8b-think", 7, 30_000, str(tmp_path_factory.mktemp("study"))))


@pytest.mark.parametrize("job", MEGABYTES)
def test_a_job_grows_by_less_than_the_responses(measured, job):
    assert measured["MB of responses"] > 290
    assert measured[job] < MEGABYTES[job]


@pytest.mark.parametrize("rule", ["estimate", "judge_claims", "make_report", "regrade_samples"])
def test_what_reads_samples_has_a_stage_of_its_own(rule):
    text = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "rules").glob("*.smk"))
    assert re.search(rf'surroundings\("{rule}", .*, "numbers"\)', text)
    asked = paper().resources_for
    assert asked("numbers").mem_mb > asked("report").mem_mb
