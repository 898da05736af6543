"""The lock file of a study: what the first fetch found is what later ones must find."""

import hashlib
import json
import threading

import pytest
import yaml

from selfdistill.problems import sources
from selfdistill.problems.sources import DATA_ROOT, SourceError, read_hub_problems
from selfdistill.records import pins
from selfdistill.records.pins import HEAD, LOCK, OtherPin, is_commit, pin, pin_of

SOURCE = {
    "repo_id": "owner/set", "revision": "main", "split": "train", "data_files": "data/rows.jsonl",
    "local": "rows.jsonl", "question": "q", "answer": "a",
}  # fmt: skip


@pytest.fixture
def lock(tmp_path, monkeypatch):
    """The lock file of a study, not yet written."""
    monkeypatch.setenv(LOCK, str(tmp_path / "config" / "lock" / "study.yaml"))
    return tmp_path / "config" / "lock" / "study.yaml"


@pytest.fixture
def file(tmp_path, monkeypatch):
    """A file as the hub gives it."""
    path = tmp_path / "rows.jsonl"
    path.write_text(json.dumps({"q": "one", "a": "1"}))
    monkeypatch.delenv(DATA_ROOT, raising=False)
    monkeypatch.setattr("huggingface_hub.hf_hub_download", lambda *_, **__: path)
    return path


def test_a_name_is_held_to_its_first_value(lock):
    pin("a@main", "1")
    pin("a@main", "1")
    pin("b@main", "2")
    assert lock.read_text() == f"{HEAD}a@main: '1'\nb@main: '2'\n"
    with pytest.raises(OtherPin, match="a@main: .*study.yaml holds it to 1, found 3; delete its line there"):
        pin("a@main", "3")
    assert pin_of("a@main") == "1" and pin_of("c@main") is None


def test_jobs_side_by_side_lose_no_line(lock):
    jobs = [threading.Thread(target=pin, args=(f"a@{number}", str(number))) for number in range(20)]
    for job in jobs:
        job.start()
    for job in jobs:
        job.join()
    assert yaml.safe_load(lock.read_text()) == {f"a@{number}": str(number) for number in range(20)}


def test_outside_of_a_study_nothing_is_held(tmp_path, monkeypatch):
    monkeypatch.delenv(LOCK, raising=False)
    pin("a@main", "1")
    pin("a@main", "2")
    assert pin_of("a@main") is None


def test_a_lock_file_that_cannot_be_written_is_a_warning_with_the_line(lock, monkeypatch, caplog):
    def refuse(*_):
        raise PermissionError("read-only")

    monkeypatch.setattr(pins, "write_pin", refuse)
    pin("a@main", "1")
    assert "study.yaml cannot be written (read-only): add the line `a@main: 1` yourself" in caplog.text


def test_only_a_whole_hash_is_a_commit():
    assert is_commit("0123456789abcdef" * 2 + "01234567")
    assert not is_commit("main") and not is_commit("c0ffee") and not is_commit("0" * 41)


def test_a_data_file_that_the_config_does_not_pin_is_held_to_its_contents(lock, file, tmp_path, monkeypatch):
    assert len(read_hub_problems("set", SOURCE)) == 1
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    assert yaml.safe_load(lock.read_text()) == {"owner/set@main/data/rows.jsonl": f"sha256:{digest}"}
    read_hub_problems("set", SOURCE)
    file.write_text(json.dumps({"q": "two", "a": "2"}))
    with pytest.raises(
        SourceError, match=r"rows.jsonl: owner/set@main/data/rows.jsonl: .* holds it to sha256:"
    ):
        read_hub_problems("set", SOURCE)
    monkeypatch.setenv(DATA_ROOT, str(tmp_path))  # a copy on this machine is held to the same
    with pytest.raises(SourceError, match="holds it to sha256:"):
        read_hub_problems("set", SOURCE)


def test_a_file_with_a_hash_in_the_config_and_ones_own_files_need_no_lock(lock, file):
    digest = hashlib.sha256(file.read_bytes()).hexdigest()
    read_hub_problems("set", SOURCE | {"expect": {"sha256": digest}})
    read_hub_problems("set", SOURCE | {"repo_id": "json", "data_files": str(file)})
    assert not lock.exists()
    assert sources.local_file(SOURCE) is None
