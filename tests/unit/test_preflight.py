"""Missing and foreign input files are refused together, before the first job."""

import importlib.util
import json
import shutil
import sys
from pathlib import Path

import pytest
import yaml

from selfdistill.jobs.preflight import InputError, MachineError, check_inputs, check_machine, check_outputs
from selfdistill.problems.sources import DATA_ROOT
from selfdistill.records.file_lists import write_file_list
from selfdistill.records.files import Damaged
from selfdistill.records.paths import Paths
from selfdistill.study.load import load_study

CONFIG = Path(__file__).parents[2] / "config"
CONTENT = "\n".join(json.dumps({"doc": {"question": name, "short_answer": "1"}}) for name in "abcd")


@pytest.fixture
def study(tmp_path, monkeypatch):
    """The smollm study with packages of this test in place of its own, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_ROOT, raising=False)
    shutil.copytree(CONFIG, "config")
    for name, file in (("weights_package", "model.gguf"), ("questions_package", "questions.jsonl")):
        Path(name).mkdir()
        Path(name, "__init__.py").touch()
        Path(name, file).write_text(CONTENT)
    Path("gguf").mkdir()
    Path("gguf", "__init__.py").touch()
    monkeypatch.setattr(sys, "path", [str(tmp_path), *sys.path])
    change("models.yaml", ["bases", "smollm2-135m"], file="package://weights_package/model.gguf")
    questions = {"data_files": "package://questions_package/questions.jsonl", "expect": {}}
    change("benchmarks.yaml", ["benchmarks", "gsm8k"], **questions)
    change("smollm.yaml", ["datasets", "gsm8k-questions"], **questions)
    return lambda: load_study("config/smollm.yaml")


def change(name: str, place: list[str], **values) -> None:
    """Change keys of a config file."""
    path = Path("config", name)
    content = yaml.safe_load(path.read_text())
    section = content
    for key in place:
        section = section[key]
    section |= values
    path.write_text(yaml.safe_dump(content))


def test_inputs_that_are_there_pass(study):
    check_inputs(study(), Paths("smollm"))


def test_everything_that_is_missing_is_named_with_file_and_key(study):
    shutil.rmtree("weights_package")
    Path("questions_package/questions.jsonl").unlink()
    with pytest.raises(InputError) as caught:
        check_inputs(study(), Paths("smollm"))
    benchmark, dataset, base = str(caught.value).splitlines()
    assert benchmark.startswith("config/benchmarks.yaml: benchmarks.gsm8k: package://questions_package")
    assert dataset.startswith("config/smollm.yaml: datasets.gsm8k-questions: package://questions_package")
    assert base.startswith(
        "config/models.yaml: bases.smollm2-135m.file: package://weights_package/model.gguf"
    )
    assert "weights_package is not installed: `make smollm`" in base


def test_weights_need_their_reader(study, monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "gguf" else find(name))
    with pytest.raises(
        InputError, match=r"models.yaml: bases.smollm2-135m.file: .*the package gguf, which reads it"
    ):
        check_inputs(study(), Paths("smollm"))


def test_another_file_is_refused_and_what_is_made_already_is_not_asked_for(study):
    change("smollm.yaml", ["datasets", "gsm8k-questions"], expect={"sha256": "0" * 64})
    with pytest.raises(InputError, match=r"datasets.gsm8k-questions: .*SHA-256 .* expected 0000"):
        check_inputs(study(), Paths("smollm"))
    made = Path(Paths("smollm").training_problems("gsm8k-questions", 0, "full"))
    made.parent.mkdir(parents=True)
    made.touch()
    check_inputs(study(), Paths("smollm"))


def test_local_files_are_asked_for_and_what_is_fetched_is_not(tmp_path, monkeypatch):
    paper, paths = load_study(CONFIG / "paper.yaml"), Paths("paper")
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(DATA_ROOT, raising=False)
    check_inputs(paper, paths)
    monkeypatch.setenv(DATA_ROOT, str(tmp_path / "nowhere"))
    with pytest.raises(InputError) as caught:
        check_inputs(paper, paths)
    lines = str(caught.value).splitlines()
    assert len(lines) == 5 + 2 + 5, "benchmarks, whole sets, subsets"
    assert any(
        "paper.yaml: datasets.dapo.subsets.64: " in line and "seen_64.parquet" in line for line in lines
    )


def test_a_python_that_snakemake_cannot_start_is_refused_with_the_way_out(monkeypatch):
    study = load_study(CONFIG / "mini.yaml")
    check_machine(study)
    for folder in ("/home/a b", "/home/sd's", "/home/x$y"):
        monkeypatch.setattr(sys, "executable", f"{folder}/.venv/bin/python")
        with pytest.raises(
            MachineError, match="does not quote the path of its Python.*make the environment elsewhere"
        ):
            check_machine(study)
    monkeypatch.setattr(sys, "executable", "/home/\u00fc/\u7814\u7a76/.venv/bin/python-3.11")
    check_machine(study)


def test_a_backend_that_is_not_installed_is_refused_before_the_first_job(monkeypatch):
    study = load_study(CONFIG / "paper.yaml")
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MachineError, match=r"paper.yaml: backend: vllm is not installed .*lock-gpu.txt"):
        check_machine(study)
    check_machine(study, own_environments=True)
    check_machine(load_study(CONFIG / "mini.yaml"))


@pytest.fixture
def results(tmp_path, monkeypatch):
    """A results folder with one file and one listed folder, each with its manifest."""
    monkeypatch.chdir(tmp_path)
    model = Path("results/s/bases/b/replicate-0/model")
    model.mkdir(parents=True)
    (model / "weights").write_bytes(b"12345")
    write_file_list(model)
    Path("results/s/samples.parquet").write_bytes(b"123")
    for output, sizes in (("results/s/samples.parquet", {"results/s/samples.parquet": 3}), (str(model), {})):
        manifest = {"outputs": [output], "sizes": sizes}
        Path(Path(output).with_suffix("")).with_suffix(".manifest.json").write_text(json.dumps(manifest))
    return Path("results/s")


def test_off_policy_data_are_looked_at_too(results):
    folder = Path(Paths("s").off_policy_manifest("m", "d", 0)).parent
    folder.mkdir(parents=True)
    (folder / "unguided.parquet").write_bytes(b"12")
    sizes = {str(folder / "unguided.parquet"): 3}
    (folder / "manifest.json").write_text(json.dumps({"outputs": [*sizes], "sizes": sizes}))
    with pytest.raises(Damaged, match=r"unguided\.parquet: has 2 bytes, must have 3"):
        check_outputs("results/s")


def test_whole_outputs_pass_and_missing_ones_are_left_to_their_rules(results):
    check_outputs(results)
    (results / "samples.parquet").unlink()
    (results / "bases/b/replicate-0/model/weights").unlink()
    check_outputs(results)


@pytest.mark.parametrize("size", [0, 2, 9])
def test_every_damaged_output_is_named_before_the_first_job(results, size):
    for name in ("samples.parquet", "bases/b/replicate-0/model/weights"):
        (results / name).write_bytes(b"x" * size)
    with pytest.raises(Damaged) as caught:
        check_outputs(results)
    *wrong, advice = str(caught.value).splitlines()
    assert wrong == [
        f"results/s/bases/b/replicate-0/model/weights: has {size} bytes, must have 5",
        f"results/s/samples.parquet: has {size} bytes, must have 3",
    ]
    assert advice.endswith("`rm -r results/s/bases/b/replicate-0/model results/s/samples.parquet`")


def test_a_damaged_manifest_is_named(results):
    (results / "samples.manifest.json").write_text("")
    with pytest.raises(Damaged, match=r"samples\.manifest\.json: truncated or damaged"):
        check_outputs(results)
