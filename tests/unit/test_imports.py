"""No script imports what is slow and what its job does not need, and no job imports what only GPU studies use."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEAVY = {
    *("torch", "transformers", "trl", "vllm", "accelerate", "datasets", "matplotlib", "seaborn", "scipy"),
    *("statsmodels", "pandas"),
}
DRAWING = {"matplotlib", "seaborn", "scipy", "statsmodels", "pandas"}  # seaborn itself loads the last three
GENERATION = {"torch", "transformers", "accelerate", "pandas", "scipy"}  # transformers' losses load scipy
TRAINING = GENERATION | {"trl", "datasets"}
MAY_IMPORT = {
    "build_benchmark": set(),
    "build_coverage_subset": set(),
    "build_training_problems": set(),
    "build_off_policy_data": {"pandas"},
    "estimate": {"pandas"},
    "judge_claims": {"pandas"},
    "make_report": {"pandas"},
    "write_table": {"pandas"},
    "plot_figure": DRAWING,
    "plot_timeline": DRAWING,
    "evaluate_base": GENERATION,
    "evaluate_run": GENERATION,
    "sample_contexts": GENERATION,
    "train_base": GENERATION,
    "train_grpo": TRAINING,
    "train_sdpo": TRAINING,
    "train_sft": TRAINING,
}


def imported_by(script):
    """The heavy packages that the imports at a script's head load, in a process of its own."""
    command = [sys.executable, str(ROOT / "benchmarks/dag.py"), "--head", script]
    output = subprocess.run(command, capture_output=True, text=True, check=True, cwd=ROOT).stdout
    return set(json.loads(output.splitlines()[-1]))


def test_every_script_is_listed():
    scripts = {path.stem for path in (ROOT / "workflow/scripts").glob("*.py")}
    assert scripts - {"fetch_base"} == set(MAY_IMPORT)  # fetch_base imports by the source of its model


@pytest.mark.parametrize("script", MAY_IMPORT)
def test_script_imports_nothing_heavy_that_it_does_not_need(script):
    found = imported_by(script)
    assert found <= HEAVY
    assert not found - MAY_IMPORT[script]
    assert ("torch" in found) == ("torch" in MAY_IMPORT[script])  # else the head was not run to its end


def test_the_plan_of_a_study_loads_nothing_heavy():
    """What every call of Snakemake imports (rules/common.smk, rules/claims.smk)."""
    code = "import sys, selfdistill.{}; print([m for m in {!r} if m in sys.modules])"
    names = "study, selfdistill.jobs.run_job, selfdistill.commands.status, selfdistill.jobs.fingerprint, selfdistill.claims.plan"
    command = [sys.executable, "-c", code.format(names, sorted(HEAVY))]
    assert subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip() == "[]"
