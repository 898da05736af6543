"""What runs again after a change: nothing for a comment, the figures for a style, what is affected for code and settings.

A finished study is put up from empty files: `snakemake --touch` records them as made by the present config and code.
"""

import os
import re

import pytest

from selfdistill.study.load import load_study
from selfdistill.study.methods import ON_POLICY

from .conftest import copy_workflow

FOLDERS = ("checkpoints", "model")
TRAINING = {"train_base", "train_off_policy", "train_on_policy"}
SAMPLING = {"sample_section_3", "evaluate", "evaluate_intervention"}
MEASURING = {"measure_richness", "measure_diagnosis"}
COSTLY = TRAINING | SAMPLING | MEASURING | {"build_off_policy_data"}
EMPTY_MANIFEST = '{"outputs": []}'


@pytest.fixture(scope="module")
def touched(tmp_path_factory):
    """The mini study as if finished."""
    study = copy_workflow(tmp_path_factory.mktemp("touched") / "study")
    summary = study.snakemake("--summary")
    for name in re.findall(r"^(results/\S+)\t", summary, re.MULTILINE):
        path = study.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name in FOLDERS else path.write_text(
            EMPTY_MANIFEST if name.endswith("manifest.json") else ""
        )
    study.snakemake("--touch", "--forceall")
    assert study.planned() == {}
    return study


@pytest.fixture
def change(touched):
    """Edit a file of the finished study and plan; the file is as before when the test ends."""
    saved = {}

    def edit(name, old, new):
        path = touched.root / name
        saved.setdefault(path, path.read_bytes())
        touched.edit(name, old, new)
        return set(touched.planned())

    yield edit
    for path, content in saved.items():
        path.write_bytes(content)


def test_comment_docstring_and_layout_run_nothing(change):
    assert (
        change("src/selfdistill/training/sdpo.py", "def train_sdpo", "# a remark\n\n\n\ndef train_sdpo")
        == set()
    )
    for name in ("training/loss/losses.py", "study/methods/base.py", "vocabulary/looks.py"):
        assert change(f"src/selfdistill/{name}", '"""', '"""Said otherwise. ') == set()


def test_a_comment_in_a_script_runs_nothing(change, touched):
    assert (
        change("workflow/scripts/train_on_policy.py", "from selfdistill", "# a remark\nfrom selfdistill")
        == set()
    )
    os.utime(touched.root / "workflow/scripts/train_on_policy.py")
    assert touched.planned() == {}


def test_style_of_figures_draws_and_trains_nothing(change):
    planned = change("src/selfdistill/report/style.py", "def save_figure", "ADDED = 1\n\n\ndef save_figure")
    assert {"plot_figure", "make_report"} <= planned
    assert not planned & COSTLY


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("vocabulary/looks.py", "#D55E00", "#D55E01"),
        ("vocabulary/contexts.py", 'symbol="c=s"', 'symbol="c = s"'),
        ("study/methods/grpo.py", 'label="GRPO"', 'label="grpo"'),
    ],
)
def test_colours_and_symbols_draw_everything_and_train_nothing(change, name, old, new):
    planned = change(f"src/selfdistill/{name}", old, new)
    assert planned == {"plot_figure", "write_table", "draw_overview", "make_report", "all"}


def test_labels_and_titles_train_nothing(change):
    planned = change("config/models.yaml", "label: Olmo3 organism", "label: Olmo3")
    assert {"plot_figure", "make_report"} <= planned
    assert not planned & COSTLY


def test_code_of_the_loss_trains_sdpo_only(change, touched):
    planned = change("src/selfdistill/training/loss/losses.py", "\nimport torch", "\nADDED = 1\nimport torch")
    assert planned & TRAINING == {"train_on_policy"}
    study = load_study(touched.root / "config/mini.yaml")
    sdpo = study.runs(methods=("sdpo",))
    counted = touched.planned()
    assert counted["train_on_policy"] == len(sdpo)
    assert counted["evaluate"] == sum(len(study.steps_of(run)) for run in sdpo)
    assert {"estimate", "make_report"} <= planned


def test_the_name_of_a_seed_in_a_job_function_counts(change):
    planned = change("src/selfdistill/problems/build.py", '"held-out": "benchmark"', '"held-out": "test"')
    assert "build_problems" in planned


def test_code_of_shared_training_trains_all_methods_on_the_same_bases(change):
    planned = change(
        "src/selfdistill/training/checkpoints.py", "\nMODEL_SUFFIXES =", "\nADDED = 1\nMODEL_SUFFIXES ="
    )
    assert planned & TRAINING == {"train_off_policy", "train_on_policy"}


def test_code_that_scores_measures_and_samples_nothing(change):
    planned = change("src/selfdistill/grading/positions.py", "\nREACH = 4", "\nREACH = 5")
    assert planned & COSTLY == MEASURING


def test_a_setting_trains_the_runs_that_use_it(change, touched):
    planned = change(
        "config/mini.yaml",
        "equal-lr: {grpo: {steps: 40, learning_rate: 2.0e-4}}",
        "equal-lr: {grpo: {steps: 40, learning_rate: 3.0e-4}}",
    )
    assert planned & TRAINING == {"train_on_policy"}
    assert touched.planned()["train_on_policy"] == 2


def test_more_seeds_train_the_new_runs_only(change, touched):
    change("config/mini.yaml", "\nseeds: [0]", "\nseeds: [0, 1]")
    planned = touched.planned()
    declared = load_study(touched.root / "config/mini.yaml").runs()
    new = [run for run in declared if run.seed == 1 and run.method in ON_POLICY]
    assert planned["train_on_policy"] == len(new)
    assert "train_base" not in planned


def test_a_benchmark_evaluates_and_trains_nothing(change):
    planned = change("config/mini.yaml", "  samples: 2\n", "  samples: 5\n")
    assert "evaluate" in planned
    assert not planned & TRAINING


def test_intervals_are_estimated_anew_without_sampling(change):
    planned = change("src/selfdistill/statistics/metrics.py", "\nMETRICS", "\nADDED = 1\nMETRICS")
    assert "estimate" in planned
    assert not planned & COSTLY


def test_a_claim_is_judged_anew_without_sampling(change):
    planned = change("config/claims.yaml", "below: -0.8", "below: -0.7")
    assert planned == {"judge_claims", "draw_overview", "make_report", "all"}


def test_replicates_of_the_command_line_plan_their_own_bases_only(touched):
    planned = touched.planned("--config", "replicates=0,1,2")
    runs = load_study(touched.root / "config/mini.yaml", replicates=[0, 1, 2]).runs()
    assert planned["train_on_policy"] == sum(run.method in ON_POLICY and run.replicate > 0 for run in runs)
    assert planned["train_base"] == 6
    assert planned["judge_claims"] == 1
    assert touched.planned() == {}
