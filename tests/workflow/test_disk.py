"""Exported models that a study does not keep: deleted once they are evaluated, without anything being run again for them."""

import json
import re
import shutil

import pytest

from selfdistill.records.paths import Paths
from selfdistill.study.load import load_study

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


def some_runs(study: Workspace):
    """The first run of GRPO, and one of SFT."""
    declared = load_study(study.root / "config/test.yaml")
    return [declared.runs(methods=(method,))[0] for method in ("grpo", "sft")]


def targets(study: Workspace) -> list[str]:
    """Samples of the runs."""
    return [PATHS.samples(run) for run in some_runs(study)]


def test_models_are_gone_after_their_evaluation_and_everything_else_is_there(study):
    for run in some_runs(study):
        folder = study.root / PATHS.run(run)
        assert not (folder / "checkpoints").exists()
        assert {"training.parquet", "samples.parquet", "checkpoints.manifest.json"} <= {
            path.name for path in folder.iterdir()
        }
    assert not list((study.root / PATHS.results).glob("resume/runs/**/*.safetensors"))


def test_nothing_is_planned_again(study):
    assert study.planned(*targets(study), *STUDY) == {}
    planned = study.planned(*STUDY)
    declared = load_study(study.root / "config/test.yaml").runs()
    assert planned["train_on_policy"] == len([run for run in declared if run.method != "sft"]) - 1
    assert planned["train_off_policy"] == len([run for run in declared if run.method == "sft"]) - 1


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


def test_a_change_of_the_evaluation_trains_again_and_the_plan_says_so(study):
    study.edit("config/test.yaml", "  samples: 2\n", "  samples: 3\n")
    planned = study.planned(*targets(study), *STUDY)
    study.edit("config/test.yaml", "  samples: 3\n", "  samples: 2\n")
    assert planned["train_on_policy"] == planned["train_off_policy"] == 1
