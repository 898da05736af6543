"""Base models without a network: from the hub's cache or from a folder, whole, and of the commit that the study is held to."""

import json
from pathlib import Path
from types import SimpleNamespace

import httpx
import huggingface_hub
import pytest
import yaml
from huggingface_hub import constants

from selfdistill.commands import doctor
from selfdistill.jobs.preflight import InputError, check_inputs
from selfdistill.models.fetching import BaseMissing, fetch_weights
from selfdistill.models.run import fetch_base
from selfdistill.records.file_lists import check_files
from selfdistill.records.paths import Paths
from selfdistill.records.pins import LOCK, OtherPin
from selfdistill.records.task import Task
from selfdistill.study.load import load_study
from selfdistill.study.models import HubBase

FIRST, SECOND = "a" * 40, "b" * 40
SPEC = HubBase(source="hub", repo_id="owner/name", template="r1")
INDEX = {"weight_map": {"x": "model-1.safetensors", "y": "model-2.safetensors"}}
FILES = {
    "config.json": "{}",
    "model.safetensors.index.json": json.dumps(INDEX),
    "model-1.safetensors": "one",
    "model-2.safetensors": "two",
}


def refuse(*_, **__):
    """The hub, which must not be asked."""
    raise AssertionError("the hub was asked")


@pytest.fixture
def cache(tmp_path, monkeypatch):
    """A cache of the hub's layout, with one commit of a repository; the hub must not be asked."""
    root = tmp_path / "cache"
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(root))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(huggingface_hub, "HfApi", refuse)
    monkeypatch.setenv(LOCK, str(tmp_path / "lock" / "study.yaml"))
    add_commit(root, FIRST)
    return root


def add_commit(root: Path, commit: str) -> Path:
    """Put a commit into a cache as the head of `main`: links into `blobs`, as the hub's library has them."""
    repository = root / "models--owner--name"
    snapshot = repository / "snapshots" / commit
    snapshot.mkdir(parents=True)
    (repository / "blobs").mkdir(exist_ok=True)
    (repository / "refs").mkdir(exist_ok=True)
    (repository / "refs" / "main").write_text(commit)
    for name, text in FILES.items():
        (repository / "blobs" / f"{commit}-{name}").write_text(
            f"{text}" if "json" in name else f"{text} of {commit}"
        )
        (snapshot / name).symlink_to(f"../../blobs/{commit}-{name}")
    return snapshot


def weights(output: Path) -> str:
    """The text of one of the files of weights of a base, whose folder must be whole."""
    check_files(output)
    assert not any(path.is_symlink() for path in output.iterdir())
    return (output / "model-2.safetensors").read_text()


def test_without_a_network_the_cache_is_read_and_the_hub_never_asked(cache, tmp_path):
    facts = fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")
    assert facts == {"repo_id": "owner/name", "commit": FIRST}
    assert weights(tmp_path / "model") == f"two of {FIRST}"


def test_a_hub_that_does_not_answer_is_no_end_if_the_cache_has_the_base(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)

    def silent(*_, **__):
        raise httpx.ConnectError("no route to host")

    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: SimpleNamespace(model_info=silent))
    assert fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")["commit"] == FIRST


def test_what_is_neither_cached_nor_whole_is_named_with_the_way_out(cache, tmp_path):
    with pytest.raises(
        BaseMissing, match=r"other/name@main: not in the cache .*`hf download other/name --revision main`"
    ):
        fetch_weights(
            SPEC.model_copy(update={"repo_id": "other/name"}), tmp_path / "model", tmp_path / "resume"
        )
    (cache / "models--owner--name/snapshots" / FIRST / "model-2.safetensors").unlink()
    with pytest.raises(BaseMissing, match="incomplete one: model-2.safetensors missing"):
        fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")
    assert not (tmp_path / "model").exists()


def test_a_folder_is_copied_and_the_hub_never_asked(cache, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    folder = add_commit(cache, SECOND)
    task = Task(
        {"job": SPEC.model_dump()},
        [],
        SimpleNamespace(model=tmp_path / "model"),
        tmp_path / "resume",
        {"path": str(folder)},
    )
    facts = fetch_base(task)
    assert (facts["commit"], facts["path"]) == (SECOND, str(folder)) and len(facts["sha256"]) == 64
    assert weights(tmp_path / "model") == f"two of {SECOND}"
    assert weights_are_left(folder)


def weights_are_left(folder: Path) -> bool:
    """Whether the folder that was copied is as before."""
    return {path.name for path in folder.iterdir()} == set(FILES)


def test_where_the_files_are_is_no_param_of_a_base():
    assert SPEC.model_copy(update={"path": "/models/name"}).model_dump() == SPEC.model_dump()


def test_a_folder_that_is_not_there_is_refused_before_the_first_job(folder, tmp_path):
    models = yaml.safe_load((folder / "models.yaml").read_text())
    models["bases"]["qwen3-8b"]["path"] = str(tmp_path / "nowhere")
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    with pytest.raises(InputError, match=r"models.yaml: bases.qwen3-8b.path: .*nowhere: no model folder"):
        check_inputs(load_study(folder / "paper.yaml"), Paths("paper"))


def test_the_first_fetch_holds_the_study_to_its_commit(cache, tmp_path):
    lock = tmp_path / "lock" / "study.yaml"
    fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")
    assert yaml.safe_load(lock.read_text()) == {"owner/name@main": FIRST}
    add_commit(cache, SECOND)
    assert fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")["commit"] == FIRST, (
        "main has moved on"
    )
    lock.unlink()
    assert fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")["commit"] == SECOND


def test_online_too_the_held_commit_is_fetched(cache, tmp_path, monkeypatch):
    fetched = []

    def download(repo_id, revision, local_dir):
        fetched.append(revision)
        local_dir.mkdir(parents=True)
        for name, text in FILES.items():
            (local_dir / name).write_text(text)

    heads = iter([FIRST, SECOND])
    api = SimpleNamespace(model_info=lambda repo_id, revision: SimpleNamespace(sha=next(heads)))
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(huggingface_hub, "HfApi", lambda: api)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    for _ in range(2):
        fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")
    assert fetched == [FIRST, FIRST]


def test_a_folder_of_another_commit_is_refused(cache, tmp_path):
    fetch_weights(SPEC, tmp_path / "model", tmp_path / "resume")
    other = SPEC.model_copy(update={"path": str(add_commit(cache, SECOND))})
    with pytest.raises(OtherPin, match=f"study.yaml holds it to {FIRST}, found {SECOND}; delete its line"):
        fetch_weights(other, tmp_path / "model", tmp_path / "resume")
    with pytest.raises(OtherPin, match=f"owner/name@{FIRST}: the weights in .* are of commit {SECOND}"):
        fetch_weights(other.model_copy(update={"revision": FIRST}), tmp_path / "model", tmp_path / "resume")


@pytest.fixture
def study(cache, folder):
    """A copy of the study whose only base is that of the cache."""
    models = yaml.safe_load((folder / "models.yaml").read_text())
    models["bases"]["qwen3-1.7b"]["repo_id"] = SPEC.repo_id
    (folder / "models.yaml").write_text(yaml.safe_dump(models))
    return load_study(folder / "smoke_gpu.yaml")


def with_path(study, path: Path):
    """The study with a base that is named by a folder."""
    file = study.path.with_name("models.yaml")
    models = yaml.safe_load(file.read_text())
    models["bases"]["qwen3-1.7b"]["path"] = str(path)
    file.write_text(yaml.safe_dump(models))
    return load_study(study.path)


def bases_found(study) -> tuple[str, str]:
    """Level and text of the doctor's only line about bases."""
    (finding,) = doctor.check_bases(study)
    return finding.level, finding.text


def test_the_doctor_asks_no_hub_for_a_base_that_is_cached(study, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(doctor, "answers", refuse)
    assert bases_found(study) == ("ok", f"qwen3-1.7b: cached, commit {FIRST}")


def test_the_doctor_looks_for_the_held_commit(study, cache, monkeypatch):
    study.lock.parent.mkdir()
    study.lock.write_text(yaml.safe_dump({"owner/name@main": SECOND}))
    level, text = bases_found(study)
    assert level == "problem" and f"owner/name@{SECOND}: not in the cache" in text
    add_commit(cache, SECOND)
    assert bases_found(study) == ("ok", f"qwen3-1.7b: cached, commit {SECOND}")


def test_the_doctor_names_what_a_cached_base_lacks(study, cache):
    (cache / "models--owner--name/snapshots" / FIRST / "model-2.safetensors").unlink()
    level, text = bases_found(study)
    assert level == "problem" and "model-2.safetensors missing" in text


@pytest.mark.parametrize("level", ["ok", "problem"])
def test_for_a_base_that_is_not_here_the_hub_has_to_answer(study, cache, monkeypatch, level):
    (cache / "models--owner--name").rename(cache / "models--owner--other")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    monkeypatch.setattr(doctor, "answers", lambda host: level == "ok")
    found, text = bases_found(study)
    assert found == level
    assert ("to be fetched" if level == "ok" else "hf download owner/name --revision main") in text


def test_a_folder_is_found_by_the_doctor_too(study, tmp_path):
    folder = tmp_path / "copied"
    study = with_path(study, folder)
    assert bases_found(study)[0] == "problem"
    folder.mkdir()
    for name, text in FILES.items():
        (folder / name).write_text(text)
    assert bases_found(study) == ("ok", f"qwen3-1.7b: in {folder}, commit not known")
