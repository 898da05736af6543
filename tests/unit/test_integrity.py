"""What a power cut leaves of a run's state is noticed when the run resumes: it ends bit-identical, whatever file was cut."""

import random
import re
import subprocess
from pathlib import Path
from types import SimpleNamespace

import pandas
import pytest
import tiny
from test_organism import spec
from test_resume import Killed, assert_same_outputs, at_call, kill

from selfdistill.models.loading import check_model_folder, load_model
from selfdistill.organism import pretraining
from selfdistill.records.completeness import checkpoint_folders
from selfdistill.records.file_lists import FILE_LIST, check_files, content_hash, write_file_list
from selfdistill.records.files import Damaged, read_frame, read_json
from selfdistill.records.progress import read_progress, write_progress
from selfdistill.training.checkpoints import CheckpointStore
from selfdistill.training.sdpo import train_sdpo
from selfdistill.training.sft import LossRecorder, train_sft

SETTINGS = tiny.SDPO | {"steps": 4, "checkpoint_every": 1}
KILLED_AT = 3  # in the last step: the checkpoints of steps 2 and 3 are there


def sdpo_job(folder: Path, name: str):
    """An SDPO run with a moving teacher, whose state has every kind of file."""
    return tiny.job(folder, "sdpo", SETTINGS, name=name, teacher="ema-0.2")


@pytest.fixture(scope="module")
def course(tmp_path_factory):
    """An uninterrupted run, and the resume folder of one that was killed in its last step."""
    folder = tmp_path_factory.mktemp("course")
    whole, killed = sdpo_job(folder, "whole"), sdpo_job(folder, "killed")
    train_sdpo(whole, tiny.coin_reward)
    with pytest.raises(Killed):
        train_sdpo(killed, at_call(KILLED_AT, kill))
    return SimpleNamespace(folder=folder, whole=whole, killed=killed)


@pytest.fixture
def copy(course, request):
    """The killed run as a job of its own; hard links stay links, so that a cut reaches every name of a file."""
    job = sdpo_job(course.folder, re.sub(r"\W", "-", request.node.name))
    job.resume.parent.mkdir()
    subprocess.run(["cp", "-a", course.killed.resume, job.resume], check=True)
    return job


def newest_files(folder: Path, count: int) -> list[Path]:
    """The files written last: those that a power cut can reach."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return sorted(files, key=lambda path: (path.stat().st_mtime_ns, path), reverse=True)[:count]


def damage(path: Path, rng: random.Random) -> None:
    """Empty a file, cut it, fill its end with zeros, or delete it."""
    size, kind = path.stat().st_size, rng.choice(("empty", "cut", "zeros", "delete"))
    if kind == "delete":
        path.unlink()
        return
    with path.open("r+b") as handle:
        handle.truncate(0 if kind == "empty" else rng.randrange(size) if size else 0)
        if kind == "zeros":
            handle.truncate(size)


def resumed(job) -> int:
    """Train a job to its end; the steps that were begun."""
    calls = []
    train_sdpo(job, lambda responses, answers: calls.append(1) or tiny.coin_reward(responses, answers))
    return len(calls)


@pytest.mark.parametrize("seed", range(20))
def test_a_run_ends_the_same_whatever_a_power_cut_left_of_its_newest_files(course, copy, seed):
    rng = random.Random(seed)
    for path in rng.sample(newest_files(copy.resume, 25), rng.randint(1, 3)):
        damage(path, rng)
    resumed(copy)
    assert_same_outputs(course.whole, copy)


DAMAGES = {
    "empty weights": ("checkpoint-6/model.safetensors", b""),
    "half an optimizer": ("checkpoint-6/optimizer.pt", b"PK"),
    "no optimizer": ("checkpoint-6/optimizer.pt", None),
    "no schedule": ("checkpoint-6/scheduler.pt", None),
    "no random state": ("checkpoint-6/rng_state.pth", None),
    "no teacher": ("checkpoint-6/teacher.pt", None),
    "empty trainer state": ("checkpoint-6/trainer_state.json", b""),
    "half a list": (f"checkpoint-6/{FILE_LIST}", b'{"model.saf'),
    "empty last record": ("records/rollouts-000002.parquet", b""),
    "no last record": ("records/training-000002.parquet", None),
    "empty last model": ("models/step-3/config.json", b""),
}


def store_of(job) -> CheckpointStore:
    """The store that a job's training looks for its checkpoint in."""
    exports, updates = job.settings.exported_steps, job.settings.updates_per_step
    return CheckpointStore(
        job.resume, run="r", updates_per_step=updates, exports=exports, updates=job.settings.steps * updates
    )


@pytest.mark.parametrize("case", DAMAGES)
def test_a_damaged_checkpoint_is_passed_over_for_the_one_before_and_named(copy, caplog, case):
    name, content = DAMAGES[case]
    (copy.resume / name).unlink()
    if content is not None:
        (copy.resume / name).write_bytes(content)
    assert store_of(copy).latest() == copy.resume / "checkpoint-4"
    assert "checkpoint-6 is skipped and deleted" in caplog.text and Path(name).name in caplog.text


@pytest.mark.parametrize("name", ["records/rollouts-000000.parquet", "models/step-1/model.safetensors"])
def test_without_what_every_checkpoint_needs_the_run_begins_afresh_and_says_so(copy, caplog, name):
    (copy.resume / name).unlink()
    assert store_of(copy).latest() is None
    assert "no valid checkpoint is left" in caplog.text


def test_a_whole_checkpoint_is_taken_without_a_warning(course, copy, caplog):
    assert resumed(copy) == 1
    assert not [record for record in caplog.records if record.name.startswith("selfdistill.records")]
    assert_same_outputs(course.whole, copy)


def test_a_half_sft_record_is_noticed_when_the_run_resumes(tmp_path, monkeypatch):
    whole, killed = (tiny.job(tmp_path, "sft", tiny.SFT, name=name) for name in ("whole", "killed"))
    train_sft(whole)
    original = LossRecorder.on_log

    def on_log(self, args, state, control, logs=None, **kwargs):
        original(self, args, state, control, logs=logs, **kwargs)
        if state.global_step == 5:
            raise Killed

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(LossRecorder, "on_log", on_log)
        train_sft(killed)
    (killed.resume / "records/training-000003.parquet").write_bytes(
        b""
    )  # of the checkpoint of update 4, not of 2
    train_sft(killed)
    assert_same_outputs(whole, killed, rollouts=False)


@pytest.mark.parametrize(("cut", "first"), [(("40",), 20), (("20", "40"), 0)])
def test_a_base_goes_on_from_its_newest_whole_checkpoint(tmp_path, monkeypatch, cut, first):
    monkeypatch.setattr(pretraining, "CHECKPOINT_EVERY", 20)
    monkeypatch.setattr(pretraining, "measure_base", lambda *_: {})
    pretraining.train_base(spec(), 0, tmp_path / "whole", tmp_path / "first")
    calls, step = [], pretraining.train_step

    def dying(*arguments):
        calls.append(1)
        if len(calls) == 43:
            raise Killed
        return step(*arguments)

    monkeypatch.setattr(pretraining, "train_step", dying)
    with pytest.raises(Killed):
        pretraining.train_base(spec(), 0, tmp_path / "killed", tmp_path / "resume")
    for number in cut:
        (tmp_path / "resume" / "draw-0" / f"checkpoint-{number}" / pretraining.STATE).write_bytes(b"")
    monkeypatch.setattr(pretraining, "train_step", lambda *arguments: calls.append(1) or step(*arguments))
    pretraining.train_base(spec(), 0, tmp_path / "killed", tmp_path / "resume")
    assert len(calls) == 43 + spec().steps - first
    assert tiny.same_weights(tmp_path / "whole", tmp_path / "killed")
    check_model_folder(tmp_path / "killed")


def test_the_progress_of_a_cut_file_is_unknown(tmp_path):
    assert read_progress(tmp_path) == {}
    write_progress(tmp_path, step=1, steps=4, seconds=2.0)
    assert read_progress(tmp_path)["eta"] == 6.0
    (tmp_path / "progress.json").write_bytes(b"")
    assert read_progress(tmp_path) == {}


def test_a_published_model_that_was_cut_is_refused_by_name(course, tmp_path):
    subprocess.run(["cp", "-a", course.whole.output, tmp_path / "out"], check=True)
    folder = tmp_path / "out" / "checkpoints" / "step-2"
    check_model_folder(folder)
    weights = folder / "model.safetensors"
    content = weights.read_bytes()
    weights.unlink()
    weights.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(Damaged, match=r"step-2/model\.safetensors: contents differ"):
        check_model_folder(folder)
    weights.write_bytes(content[:-9])
    with pytest.raises(Damaged, match=r"step-2/model\.safetensors: has \d+ bytes, must have \d+"):
        checkpoint_folders(tmp_path / "out" / "checkpoints", course.whole.settings.exported_steps)


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet, but long enough to have a footer"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    for name, read in (("a.parquet", read_frame), ("a.json", read_json)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Damaged, match=name):
            read(tmp_path / name)
        with pytest.raises(FileNotFoundError, match=f"no-{name}"):
            read(tmp_path / f"no-{name}")


def test_weights_that_cannot_be_read_are_named(tmp_path):
    folder = tiny.save_base(tmp_path / "base")
    (folder / "model.safetensors").write_bytes(b"\0" * 7)
    with pytest.raises(Damaged, match=str(folder)):
        load_model(folder)


def test_a_list_holds_all_files_but_itself_and_hidden_ones(tmp_path):
    (tmp_path / "deep").mkdir()
    for name in ("a", "deep/b", ".hidden"):
        (tmp_path / name).write_text(name)
    write_file_list(tmp_path)
    assert set(read_json(tmp_path / FILE_LIST)) == {"a", "deep/b"}
    check_files(tmp_path)
    (tmp_path / ".snakemake_timestamp").touch()
    check_files(tmp_path)


def test_a_content_hash_knows_nothing_of_times(tmp_path):
    for name in ("left", "right"):
        (tmp_path / name).mkdir()
        pandas.DataFrame({"n": [1]}).to_parquet(tmp_path / name / "a.parquet")
    (tmp_path / "right" / ".snakemake_timestamp").touch()
    assert content_hash(tmp_path / "left") == content_hash(tmp_path / "right")
    assert content_hash(tmp_path / "left" / "a.parquet") == content_hash(tmp_path / "right" / "a.parquet")
    (tmp_path / "right" / "b").touch()
    assert content_hash(tmp_path / "left") != content_hash(tmp_path / "right")
