"""Paths, schemas, atomic writes, locks and manifests."""

import json
import os
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import ModuleType, SimpleNamespace

import numpy
import pandas
import pyarrow.parquet
import pytest

from selfdistill.jobs import run_job as job
from selfdistill.jobs.locks import is_locked, lock_of
from selfdistill.records import files as artifacts
from selfdistill.records.file_lists import content_hash
from selfdistill.records.files import (
    Damaged,
    atomic_path,
    read_frame,
    read_json,
    read_table,
    read_table_rows,
    slice_hash,
    write_table,
)
from selfdistill.records.paths import Paths, resume_of
from selfdistill.records.schemas import SchemaError, rollouts_schema, samples_schema, training_schema
from selfdistill.records.task import job as mark_job
from selfdistill.vocabulary.runs import LAST, RUN_FIELDS, Run
from selfdistill.vocabulary.words import EPISTEMIC_WORDS

RUN = Run("r1-mini", "sdpo", "solution", "ema-0.05", "chain", "full", "default", 0, 3)
FOLDER = "results/mini/runs/r1-mini/sdpo/solution/ema-0.05/chain/full/default/replicate-0/seed-3"


def test_paths_of_a_run_and_their_pattern_agree():
    paths = Paths("mini")
    assert paths.checkpoints(RUN) == f"{FOLDER}/checkpoints"
    assert paths.samples(RUN, 4) == f"{FOLDER}/samples/step-4.parquet"
    assert paths.manifest(paths.samples(RUN, LAST)) == f"{FOLDER}/samples/step-last.manifest.json"
    assert paths.samples().format(**RUN.fields(), step=4) == paths.samples(RUN, 4)


def test_logs_locks_and_resume_folders_have_the_wildcards_of_the_output():
    paths = Paths("mini")
    for pattern in (resume_of(paths.samples()), paths.log("rule", paths.samples())):
        assert all(f"{{{name}}}" in pattern for name in (*RUN_FIELDS, "step"))
    resume = resume_of(paths.training(RUN))
    assert resume == FOLDER.replace("results/mini", "results/mini/resume") + "/training"
    assert str(lock_of(resume)) == FOLDER.replace("results/mini", "results/mini/locks") + "/training.lock"


def test_schemas_have_the_run_fields_and_both_counts_of_every_word():
    assert samples_schema().names[1:10] == list(RUN_FIELDS)
    assert training_schema().names[:9] == list(RUN_FIELDS)
    for word in EPISTEMIC_WORDS:
        assert {f"substring_{word}", f"word_{word}"} <= set(samples_schema().names)
        assert f"substring_{word}" in training_schema().names


def rollouts(**changes):
    """A frame of the rollouts schema with one row."""
    row = {
        "step": 0, "problem_id": "a", "sample_index": 0, "response": "x", "score": 1.0, "outcome": "correct",
        "response_tokens": 3, "truncated": False, "has_demonstration": None,
    }  # fmt: skip
    return pandas.DataFrame([row | changes])


def test_tables_come_back_as_written(tmp_path):
    path = tmp_path / "deep" / "table.parquet"
    write_table(path, rollouts()[list(reversed(rollouts().columns))], rollouts_schema())
    table = read_table(path, rollouts_schema())
    assert list(table.columns) == rollouts_schema().names
    assert table.loc[0, "response"] == "x"
    assert list(read_table(path, rollouts_schema(), ["score"]).columns) == ["score"]


def test_missing_and_extra_columns_are_named_with_the_file(tmp_path):
    path = tmp_path / "table.parquet"
    with pytest.raises(SchemaError, match=r"table.parquet: missing columns score; extra columns points"):
        write_table(path, rollouts().rename(columns={"score": "points"}), rollouts_schema())
    assert not path.exists()
    rollouts().drop(columns="response").to_parquet(path, index=False)
    with pytest.raises(SchemaError, match=r"table.parquet: missing columns response"):
        read_table(path, rollouts_schema())


def test_a_wrong_type_is_named_with_the_file(tmp_path):
    with pytest.raises(SchemaError, match=r"table.parquet: .*score"):
        write_table(tmp_path / "table.parquet", rollouts(score="good"), rollouts_schema())


def all_rows(path, schema):
    """Return the table as chosen rows, all of them."""
    return read_table_rows(path, schema, numpy.ones(50, dtype=bool), schema.names)


@pytest.mark.parametrize("read", [read_table, all_rows])
def test_a_flipped_byte_is_noticed_in_every_page(tmp_path, read):
    """Without page checksums about one flip in ten is read as other data."""
    path = tmp_path / "table.parquet"
    table = pandas.concat([rollouts()] * 50, ignore_index=True)
    write_table(path, table, rollouts_schema())
    whole, expected = path.read_bytes(), read_table(path, rollouts_schema())
    footer = len(whole) - 8 - int.from_bytes(whole[-8:-4], "little")
    for place in range(4, footer, max(1, footer // 150)):
        damaged = bytearray(whole)
        damaged[place] ^= 0x10
        path.write_bytes(damaged)
        try:
            found = read(path, rollouts_schema())
        except Damaged as error:
            assert str(error).startswith(f"{path}: truncated or damaged")
        else:
            pandas.testing.assert_frame_equal(found, expected)


@pytest.mark.parametrize("size", [1000, 100, 7])
def test_few_rows_are_read_as_from_the_whole_table(tmp_path, size):
    """In row groups of every size, also one that no chosen row lies in; columns in the order asked for."""
    path, schema, columns = tmp_path / "table.parquet", rollouts_schema(), ["score", "response", "step"]
    table = pandas.concat([rollouts(step=i, response=f"text {i}") for i in range(300)], ignore_index=True)
    pyarrow.parquet.write_table(pyarrow.Table.from_pandas(table[schema.names], schema), path, size)
    for wanted in (range(5, 300, 31), range(250, 280), (), range(300)):
        chosen = table.index.isin(wanted)
        expected = read_table(path, schema, columns)[chosen].reset_index(drop=True)
        pandas.testing.assert_frame_equal(read_table_rows(path, schema, chosen, columns), expected)


def test_few_rows_of_a_table_with_other_columns_are_refused(tmp_path):
    write_table(tmp_path / "table.parquet", rollouts(), rollouts_schema())
    with pytest.raises(SchemaError, match=r"table.parquet: "):
        read_table_rows(tmp_path / "table.parquet", training_schema(), numpy.ones(1, dtype=bool), ["score"])


@pytest.mark.parametrize("content", [b"", b"PAR1", b"no parquet at all, but long enough to have a footer"])
def test_a_damaged_file_is_named(tmp_path, content):
    for name, read in (("table.parquet", read_frame), ("manifest.json", read_json)):
        (tmp_path / name).write_bytes(content)
        with pytest.raises(Damaged, match=f"{name}: truncated or damaged"):
            read(tmp_path / name)


def test_an_interrupted_write_leaves_the_old_file_and_no_rest(tmp_path):
    path = tmp_path / "file.txt"
    path.write_text("old")
    with pytest.raises(RuntimeError), atomic_path(path) as temporary:
        temporary.write_text("half of the ne")
        raise RuntimeError
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]


def test_the_hash_of_a_slice_ignores_the_order_of_keys_only():
    assert slice_hash({"a": 1, "b": [1, 2]}) == slice_hash({"b": [1, 2], "a": 1})
    assert slice_hash({"a": 1, "b": [1, 2]}) != slice_hash({"a": 1, "b": [2, 1]})


class Named(list):
    """Like Snakemake's outputs: a list whose members have names."""

    def __init__(self, **paths):
        super().__init__(paths.values())
        self.__dict__.update(paths)

    items = property(lambda self: self.__dict__.items)


RESUME = Path("results/x/resume/data")


@pytest.fixture
def snakemake(tmp_path, monkeypatch):
    """What a script sees of Snakemake, in a folder of its own; the output is not redirected."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(job, "redirect_output", lambda log: None)
    Path("in").write_text("problems")
    return SimpleNamespace(
        rule="train_on_policy",
        threads=1,
        resources={},
        log=["job.log"],
        input=["in"],
        output=Named(data="results/x/data.txt", manifest="results/x/data.manifest.json"),
        params={"job": {"steps": 3}, "code": "abc"},
    )


@pytest.fixture
def named(monkeypatch):
    """Makes the name by which a job function can be asked for."""

    def name(function):
        module = ModuleType("job_of_a_test")
        module.function = mark_job()(function)
        monkeypatch.setitem(sys.modules, module.__name__, module)
        return "job_of_a_test:function"

    return name


def write_output(task):
    """A job: leaves something to resume from, writes its output."""
    (task.resume / "checkpoint").touch()
    Path(task.output.data).parent.mkdir(exist_ok=True, parents=True)
    Path(task.output.data).write_text("result")
    return {"tokens": 12, "steps": 3}


def test_a_job_ends_with_a_manifest_and_without_its_resume_folder(snakemake, named):
    job.run_job(snakemake, named(write_output))
    manifest = json.loads(Path("results/x/data.manifest.json").read_text())
    assert manifest["config"] == {"job": {"steps": 3}}
    assert manifest["config_sha256"] == slice_hash({"job": {"steps": 3}})
    assert (manifest["code_sha256"], manifest["tokens"], manifest["facts"]) == ("abc", 12, {"steps": 3})
    assert manifest["packages"]["pandas"] == pandas.__version__
    assert manifest["peak_memory_mb"] > 10
    assert manifest["times"]["process_began"] <= manifest["times"]["main_began"] <= manifest["times"]["ended"]
    assert not RESUME.exists()


def test_a_failed_job_keeps_what_it_resumes_from_and_writes_no_manifest(snakemake, named):
    def fail(task):
        write_output(task)
        raise RuntimeError("no space left")

    with pytest.raises(RuntimeError, match="no space left"):
        job.run_job(snakemake, named(fail))
    assert RESUME.exists()
    assert not Path("results/x/data.manifest.json").exists()


def change_config(snakemake):
    snakemake.params["job"] = {"steps": 4}


def change_code(snakemake):
    snakemake.params["code"] = "def"


def change_input(snakemake):
    Path("in").write_text("Problems")


def change_input_time(snakemake):
    os.utime("in", (0, 0))


def leave_no_key(snakemake):
    (RESUME / "job.json").unlink()


@pytest.mark.parametrize(
    ("change", "kept"),
    [
        (lambda snakemake: None, True),
        (change_config, False),
        (change_code, False),
        (change_input, False),
        (change_input_time, True),
        (leave_no_key, False),
    ],
)
def test_a_job_resumes_only_from_what_the_same_config_code_and_inputs_left(snakemake, named, change, kept):
    seen = []

    def killed(task):
        seen.append((task.resume / "checkpoint").exists())
        write_output(task)
        raise KeyboardInterrupt

    name = named(killed)
    with pytest.raises(KeyboardInterrupt):
        job.run_job(snakemake, name)
    change(snakemake)
    with pytest.raises(KeyboardInterrupt):
        job.run_job(snakemake, name)
    assert seen == [False, kept]


def test_an_input_folder_counts_by_names_and_contents_and_not_by_times(tmp_path):
    (tmp_path / "weights").write_bytes(bytes(5 << 20))
    before = content_hash(tmp_path)
    os.utime(tmp_path / "weights", (5, 5))
    (tmp_path / ".snakemake_timestamp").touch()
    assert content_hash(tmp_path) == before
    with (tmp_path / "weights").open("r+b") as handle:
        handle.seek(-1, os.SEEK_END)
        handle.write(b"1")
    changed = content_hash(tmp_path)
    (tmp_path / "weights").rename(tmp_path / "renamed")
    assert len({before, changed, content_hash(tmp_path)}) == 3


@pytest.mark.parametrize(("code", "runs"), [("abc", 1), ("changed", 2)])
def test_a_job_finished_by_the_process_that_it_waited_for_is_not_done_again(snakemake, named, code, runs):
    calls = []

    def once(task):
        calls.append(task)
        time.sleep(0.5)
        return write_output(task)

    name = named(once)
    second = SimpleNamespace(**vars(snakemake) | {"params": snakemake.params | {"code": code}})
    orphan = threading.Thread(target=job.run_job, args=(snakemake, name))
    orphan.start()
    while not is_locked(lock_of(RESUME)):
        time.sleep(0.01)
    job.run_job(second, name)
    orphan.join()
    assert len(calls) == runs


def test_schema_version_is_written_into_the_file(tmp_path):
    import pyarrow.parquet

    write_table(tmp_path / "t.parquet", rollouts(), rollouts_schema())
    metadata = pyarrow.parquet.read_schema(tmp_path / "t.parquet").metadata
    assert metadata[b"schema_version"] == str(artifacts.SCHEMA_VERSION).encode()


def test_peak_memory_counts_a_job_once_that_started_programs():
    """Linux counts for a child what its parent held when it was started; a sum would double it."""
    code = (
        "import resource, subprocess; from selfdistill.jobs.manifest import peak_memory_mb; block = bytearray(200 * 2**20); "
        "subprocess.run(['true'], check=True); "
        "print(peak_memory_mb(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    peak, own = map(float, output.split())
    assert 200 < peak == pytest.approx(own, rel=0.1)
