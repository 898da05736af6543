"""The benchmarks that take a finished study: they look for its bases and problems where the study puts them."""

import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
from tiny import coin_reward, save_base, save_problems

from selfdistill.records.paths import Paths
from selfdistill.study.load import load_study

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "benchmarks"))
from common import base_in, paths_in  # noqa: E402
from dag import write_grid  # noqa: E402
from evaluation import models_of  # noqa: E402
from scaling import replicates_of  # noqa: E402
from training_step import SIDES, build, training_job  # noqa: E402

MINI = load_study(ROOT / "config/mini.yaml")


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
def test_a_training_step_is_that_of_the_study_on_its_own_files(tmp_path, monkeypatch, method):
    monkeypatch.chdir(ROOT)
    options = SimpleNamespace(model="r1-mini", results=Path("results/mini"), steps=3)
    job = training_job(options, method, tmp_path)
    paths = Paths("mini")
    assert str(job.base) == paths.base(MINI.model("r1-mini").base, 0)
    assert str(job.data) == paths.training_problems("chain", 0, "full")
    assert job.settings.steps == 3
    assert job.settings.prompts == MINI.settings_for(job.run).prompts


@pytest.mark.parametrize("method", ["grpo", "sdpo"])
@pytest.mark.parametrize("side", SIDES)
def test_each_side_of_a_training_step_trains(tmp_path, monkeypatch, side, method):
    monkeypatch.chdir(ROOT)
    options = SimpleNamespace(model="r1-mini", results=Path("results/mini"), steps=1)
    job = training_job(options, method, tmp_path)
    small = {"prompts": 4, "rollouts": 4, "max_new_tokens": 8, "micro_batch": 4}
    files = {
        "base": save_base(tmp_path / "base", "r1"),
        "data": save_problems(tmp_path / "problems.parquet", 8),
        "settings": job.settings.model_copy(update=small),
    }
    trainer = build(side, method, job.model_copy(update=files), coin_reward)
    assert type(trainer).__module__.startswith("trl.") == (side != SIDES[0])
    assert trainer.args.per_device_train_batch_size == (8 if side == "trl" else 4)
    trainer.train()
    assert trainer.state.global_step == job.settings.updates_per_step


def test_generation_is_measured_once_per_base_that_is_there(tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    options = SimpleNamespace(models=None, results=tmp_path / "mini")
    assert models_of(options) == []
    base = MINI.model("r1-mini").base
    base_in(options.results, MINI, base).mkdir(parents=True)
    assert models_of(options) == ["r1-mini"]
    assert paths_in(options.results).results == str(tmp_path / "mini")


def test_the_grid_of_the_dry_runs_is_a_study(tmp_path):
    study = load_study(write_grid(tmp_path, 2))
    assert study.name == "grid" and study.file.seeds == [0, 1]
    assert study.ledger.is_file()


def test_the_cost_of_replicates_counts_the_jobs_of_each(tmp_path):
    files = [
        "bases/b/replicate-0/model",
        "section-3/m/replicate-1.parquet",
        "runs/m/replicate-1/seed-0/a.parquet",
        "report.html",
    ]
    for number, name in enumerate(files):
        manifest = tmp_path / f"{number}.manifest.json"
        times = (
            f'{{"outputs": ["{name}"], "times": {{"cpu_seconds": {10**number}}}, "peak_memory_mb": {number}}}'
        )
        manifest.write_text(times)
    row = replicates_of(tmp_path)
    assert [point["cpu"] for point in row["points"]] == [1001, 1111]
