"""Checkpoints and samples that are not those that the study declares are refused; run, step and file are named."""

import itertools
import shutil

import pandas
import pytest
import tiny

from selfdistill.records.completeness import Incomplete, check_samples, checkpoint_folders
from selfdistill.records.files import Damaged
from selfdistill.study.methods.grpo import GrpoSettings
from selfdistill.study.methods.sft import SftSettings
from selfdistill.training.grpo import train_grpo
from selfdistill.vocabulary.runs import LAST

STEPS, PROBLEMS = (1, 2), {"easy": ("p0", "p1"), "hard": ("p0", "p2")}


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """The checkpoints of a run of two steps."""
    job = tiny.job(tmp_path_factory.mktemp("run"), "grpo", tiny.GRPO | {"steps": 2, "checkpoint_every": 1})
    train_grpo(job, tiny.coin_reward)
    return job.output / "checkpoints"


@pytest.fixture
def folder(trained, tmp_path):
    """A copy of them."""
    return shutil.copytree(trained, tmp_path / "checkpoints")


def test_the_declared_checkpoints_are_found_in_their_order(folder):
    assert checkpoint_folders(folder, STEPS) == {step: folder / f"step-{step}" for step in STEPS}


def test_a_lost_checkpoint_is_named(folder):
    shutil.rmtree(folder / "step-2")
    with pytest.raises(Damaged, match="step-2/files.json: missing"):
        checkpoint_folders(folder, STEPS)


def test_a_stray_folder_is_ignored_and_named(folder, caplog):
    shutil.copytree(folder / "step-2", folder / "step-2.bak")
    shutil.copytree(folder / "step-2", folder / "step-3")
    (folder / ".snakemake_timestamp").touch()
    assert list(checkpoint_folders(folder, STEPS)) == [1, 2]
    assert "ignored (not written by the training): step-2.bak, step-3" in caplog.text


@pytest.mark.parametrize("declared", [(1,), (1, 2, 3), (LAST,)])
def test_steps_that_the_training_did_not_write_are_refused(folder, declared):
    steps = ", ".join(map(str, declared))
    with pytest.raises(Incomplete, match=rf"declared steps: {steps}; trained steps: 1, 2"):
        checkpoint_folders(folder, declared)


@pytest.mark.parametrize("name", ["files.json", "step-1/files.json", "step-1/config.json"])
def test_a_lost_or_cut_file_is_named(folder, name):
    (folder / name).write_bytes(b"{")
    with pytest.raises(Damaged, match=name):
        checkpoint_folders(folder, STEPS)
    (folder / name).unlink()
    with pytest.raises(Damaged, match=name.rpartition("/")[2]):
        checkpoint_folders(folder, STEPS)


@pytest.mark.parametrize(
    ("steps", "every", "exported"), [(4, 2, (2, 4)), (5, 2, (2, 4, 5)), (2, 3, (2,)), (3, 1, (1, 2, 3))]
)
def test_exported_steps_are_those_of_the_settings_and_the_last(steps, every, exported):
    settings = GrpoSettings(**tiny.GRPO | {"steps": steps, "checkpoint_every": every})
    assert settings.exported_steps == exported


@pytest.mark.parametrize(("rows", "updates"), [(1, 3), (4, 3), (5, 6), (8, 6)])
def test_the_last_step_of_sft_is_computed_from_its_rows_and_epochs(rows, updates):
    assert SftSettings(**tiny.SFT).updates(rows) == updates


def samples() -> pandas.DataFrame:
    """Samples of step 2 on two benchmarks with two problems each, three responses per problem."""
    rows = [
        (2, benchmark, problem, index)
        for benchmark, problems in PROBLEMS.items()
        for problem, index in itertools.product(problems, range(3))
    ]
    return pandas.DataFrame(rows, columns=["step", "benchmark", "problem_id", "sample_index"])


@pytest.mark.parametrize("benchmarks", [PROBLEMS, list(PROBLEMS)])
def test_whole_samples_pass_in_any_order(benchmarks):
    frame = samples().sample(frac=1, random_state=0)
    check_samples(frame, 2, benchmarks, 3, "a/step-2.parquet")
    check_samples(frame, LAST, benchmarks, 3, "a/step-last.parquet")


LOST = {
    "missing benchmarks: hard": lambda rows: rows["benchmark"] != "hard",
    "step 2, benchmark hard: missing problems: p2": lambda rows: rows["problem_id"] != "p2",
    "step 2, benchmark easy, problem p0: samples 0, 2; declared: 0 to 2": lambda rows: rows.index != 1,
}


@pytest.mark.parametrize("message", LOST)
def test_missing_samples_are_named(message):
    frame = samples()
    with pytest.raises(Incomplete, match=f"a/step-2.parquet: {message}"):
        check_samples(frame[LOST[message](frame)], 2, PROBLEMS, 3, "a/step-2.parquet")


def test_missing_samples_are_named_where_only_the_benchmarks_are_known():
    frame = samples()
    with pytest.raises(Incomplete, match="missing benchmarks: hard"):
        check_samples(frame[frame["benchmark"] != "hard"], 2, list(PROBLEMS), 3, "a/step-2.parquet")
    with pytest.raises(Incomplete, match="problem p0: samples 0, 2; declared: 0 to 2"):
        check_samples(frame.drop(index=1), 2, list(PROBLEMS), 3, "a/step-2.parquet")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"step": 3}, "must have one step, has: 2, 3"),
        ({"benchmark": "other"}, "undeclared benchmarks: other"),
        ({"sample_index": 1}, "problem p0: samples 0, 1, 1, 2"),
    ],
)
def test_samples_that_are_not_declared_are_named(changed, message):
    frame = pandas.concat([samples(), samples().head(1).assign(**changed)], ignore_index=True)
    with pytest.raises(Incomplete, match=f"a/step-2.parquet: .*{message}"):
        check_samples(frame, 2, PROBLEMS, 3, "a/step-2.parquet")


def test_samples_of_another_step_are_refused():
    with pytest.raises(Incomplete, match="a/step-1.parquet: missing steps: 1; undeclared steps: 2"):
        check_samples(samples(), 1, PROBLEMS, 3, "a/step-1.parquet")
