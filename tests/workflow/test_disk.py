"""Exported models that a study does not keep: deleted once they are evaluated, without anything being run again for them."""

import json
import re
import shutil

import pytest

from selfdistill.records.paths import Paths
from selfdistill.study.jobs import sample_files
from selfdistill.study.load import load_study
from selfdistill.study.methods import OFF_POLICY, ON_POLICY

from .conftest import Workspace, copy_workflow
from .test_rerun import FOLDERS

PATHS, STUDY = Paths("test"), ("--config", "study=test")


@pytest.fixture(scope="module")
def study(tmp_path_factory) -> Workspace:
    """A study whose models are deleted, with one run of SFT and one of GRPO trained and evaluated."""
    study = copy_workflow(tmp_path_factory.mktemp("disk") / "study")
    study.edit("config/test.yaml", "\nbenchmarks:\n", "\nkeep_checkpoints: false\nbenchmarks:\n")
    study.edit(
        "config/test.yaml",
        "    checkpoint_every: 1\n",
        "    checkpoint_every: 1\n    export_dtype: bfloat16\n",
    )
    study.snakemake(*targets(study), *STUDY)
    return study


def declared_in(study: Workspace):
    """The study as its file declares it."""
    return load_study(study.root / "config/test.yaml")


def some_runs(study: Workspace):
    """The first run of GRPO, and one of SFT."""
    declared = declared_in(study)
    return [declared.runs(methods=(method,))[0] for method in ("grpo", "sft")]


def targets(study: Workspace) -> list[str]:
    """Samples of the runs."""
    return sample_files(declared_in(study), PATHS, some_runs(study))


def test_models_are_gone_after_their_evaluation_and_everything_else_is_there(study):
    for run in some_runs(study):
        folder = study.root / PATHS.run(run)
        assert not (folder / "checkpoints").exists()
        assert {"training.parquet", "samples", "checkpoints.manifest.json"} <= {
            path.name for path in folder.iterdir()
        }
    assert not list((study.root / PATHS.results).glob("resume/runs/**/*.safetensors"))


def test_nothing_is_planned_again(study):
    assert study.planned(*targets(study), *STUDY) == {}
    planned = study.planned(*STUDY)
    declared = load_study(study.root / "config/test.yaml").runs()
    assert planned["train_on_policy"] == len([run for run in declared if run.method in ON_POLICY]) - 1
    assert planned["train_off_policy"] == len([run for run in declared if run.method in OFF_POLICY]) - 1


def test_a_finished_study_without_its_models_plans_nothing(study, tmp_path):
    """Put up from empty files, as in test_rerun; figures and claims need the training records of the runs."""
    finished = copy_workflow(tmp_path / "finished")
    shutil.copy(study.root / "config/test.yaml", finished.root / "config/test.yaml")
    for name in re.findall(r"^(results/\S+)\t", finished.snakemake("--summary", *STUDY), re.MULTILINE):
        path = finished.root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.mkdir() if path.name in FOLDERS else path.write_text(json.dumps({"outputs": []}))
    finished.snakemake("--touch", "--forceall", *STUDY)
    for run in load_study(finished.root / "config/test.yaml").runs():
        shutil.rmtree(finished.root / PATHS.checkpoints(run), ignore_errors=True)
    assert finished.planned(*STUDY) == finished.planned("figure3", *STUDY) == {}


@pytest.fixture
def changed(study):
    """The study with a change of its evaluation, undone at the end."""
    study.edit("config/test.yaml", "  samples: 2\n", "  samples: 3\n")
    yield study
    study.edit("config/test.yaml", "  samples: 3\n", "  samples: 2\n")


def test_a_change_of_the_evaluation_trains_again_and_the_plan_says_so(changed):
    planned = changed.planned(*targets(changed), *STUDY)
    assert planned["train_on_policy"] == planned["train_off_policy"] == 1


def test_finished_runs_are_not_trained_again_without_being_told_to(changed):
    output = changed.snakemake(*targets(changed), *STUDY, fails=True)
    grpo, sft = some_runs(changed)
    assert "config/test.yaml: keep_checkpoints: false: the models of 2 finished runs were deleted" in output
    assert re.search(rf"{grpo}: train_on_policy took .* hours; .* needed by evaluate \(2 jobs\)", output)
    assert re.search(rf"{sft}: train_off_policy took .* hours; .* needed by evaluate \(1 jobs\)", output)
    assert "add `--config retrain=yes`" in output
    assert "Training " not in output.partition("Retraining")[0].partition("Select jobs to execute")[2]
    refused = changed.snakemake(*targets(changed), "--config", "study=test", "retrain=maybe", fails=True)
    assert "--config retrain=maybe: must be yes or no" in refused


def test_finished_runs_are_trained_again_if_told_to(changed):
    run = some_runs(changed)[1]
    target = sample_files(declared_in(changed), PATHS, [run])
    changed.snakemake(*target, "--config", "study=test", "retrain=yes")
    assert changed.planned(*target, *STUDY) == {}


def test_a_run_with_other_settings_is_trained_without_a_word(study):
    study.edit("config/test.yaml", "learning_rate: 1.0e-4", "learning_rate: 3.0e-4")
    run = some_runs(study)[1]
    output = study.snakemake(*sample_files(declared_in(study), PATHS, [run]), *STUDY)
    study.edit("config/test.yaml", "learning_rate: 3.0e-4", "learning_rate: 1.0e-4")
    assert "Training " in output
