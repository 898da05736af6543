"""No job imports what is slow and what it does not need, and no plan of a study imports anything slow."""

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from selfdistill.study.methods import METHODS

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("torch", "transformers", "trl", "vllm", "accelerate", "datasets", "matplotlib", "seaborn", "scipy"),
    *("statsmodels", "pandas"),
}
NUMBERS = {"pandas", "scipy", "statsmodels"}
DRAWING = {"matplotlib", "seaborn"} | NUMBERS  # seaborn itself loads the last three
GENERATION = {"torch", "transformers", "accelerate", "pandas", "scipy"}  # transformers' losses load scipy
TRAINING = GENERATION | {"trl", "datasets"}
GENERATES = {"backend": "transformers"}
MAY_IMPORT = {
    "build_problems": ({"spec": {"source": "organism"}}, set()),
    "build_coverage_subset": ({}, set()),
    "fetch_base": ({}, set()),
    "build_off_policy_data": ({}, {"pandas"}),
    "match_off_policy_data": ({}, {"pandas"}),
    "estimate": ({}, NUMBERS),
    "judge_claims": ({}, NUMBERS),
    "regrade_samples": ({}, NUMBERS),
    "write_table": ({}, NUMBERS),
    "plot_figure": ({"draw": "selfdistill.report.figures.words:draw_word_shifts"}, DRAWING),
    "draw_overview": ({}, DRAWING),
    "make_report": ({}, NUMBERS),
    "evaluate": (GENERATES, GENERATION),
    "evaluate_intervention": (GENERATES, GENERATION),
    "sample_section_3": (GENERATES, GENERATION),
    "measure_richness": ({}, GENERATION),
    "measure_diagnosis": ({}, TRAINING),
    "join_diagnosis": ({}, NUMBERS),
    "train_base": ({}, GENERATION),
    "make_base": ({}, GENERATION),
    "polish_base": ({}, TRAINING),
    "train_off_policy": ({"run": {"method": "sft"}}, TRAINING),
    "train_on_policy": ({"run": {"method": "sdpo"}}, TRAINING),
}
"""Script -> params of a job, and what it may load."""
LOAD = """
import json, sys
from selfdistill.jobs.run_job import load
load(sys.argv[1], {"job": json.loads(sys.argv[2])})
print(json.dumps([name for name in json.loads(sys.argv[3]) if name in sys.modules]))
"""


def job_of(script: str) -> str:
    """The job function that a script names."""
    text = (ROOT / "workflow/scripts" / f"{script}.py").read_text()
    return re.search(r'run_job\(snakemake, "(.+)"\)', text).group(1)


def loaded_by(function: str, params: dict) -> set[str]:
    """The heavy packages that a job loads before it begins, in a process of its own."""
    command = [sys.executable, "-c", LOAD, function, json.dumps(params), json.dumps(sorted(HEAVY))]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return set(json.loads(output.splitlines()[-1]))


def test_every_script_is_listed():
    assert {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")} == set(MAY_IMPORT)


@pytest.mark.parametrize("script", MAY_IMPORT)
def test_a_job_imports_nothing_heavy_that_it_does_not_need(script):
    params, allowed = MAY_IMPORT[script]
    found = loaded_by(job_of(script), params)
    assert not found - allowed
    assert ("torch" in found) == ("torch" in allowed)  # else it was not loaded to its end


@pytest.mark.parametrize("method", METHODS)
def test_the_trainer_of_every_method_exists_and_is_loaded_before_its_job(method):
    module, _, name = METHODS[method].trainer.partition(":")
    code = (
        "import sys, json; from selfdistill.jobs.run_job import load; "
        f"load('selfdistill.training.run:train_run', {{'job': {{'run': {{'method': {method!r}}}}}}}); "
        f"assert callable(getattr(sys.modules[{module!r}], {name!r}))"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


def test_the_plan_of_a_study_loads_nothing_heavy():
    """What every call of Snakemake imports. Snakemake loads pandas itself."""
    text = "".join(path.read_text() + "\n" for path in (ROOT / "rules").glob("*.smk"))
    lines = [line for line in text.splitlines() if line.startswith("from selfdistill")]
    assert len(lines) > 10
    code = "\n".join(lines) + f"\nimport sys; print([m for m in {sorted(HEAVY)!r} if m in sys.modules])"
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
