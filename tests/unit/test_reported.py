"""The file of the paper's numbers: a slip in it is named before any job, and every quantity is known to the pictures or to none on purpose."""

import pytest
import yaml
from spoiled import CONFIG

from selfdistill.claims.reported import MEASURES, NOT_LEVELS, reported_entries
from selfdistill.study.yaml import StudyError

SCORE = {"place": "table1", "paper": "Table 1", "quantity": "score", "value": 0.3, "mark": "S2"}


def of(path, entry):
    """The entries of a file with this one after a correct one."""
    path.write_text(yaml.safe_dump({"entries": [SCORE, entry]}), encoding="utf-8")
    return reported_entries(path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"contxt": "solution"}, "entries.1.contxt: unknown key; allowed: place, paper, quantity"),
        ({"quantity": "scor"}, "entries.1.quantity: 'scor' is not declared; allowed: score, accuracy, "),
        ({"quantity": None}, "entries.1.quantity: "),
        ({"place": "tabel1"}, "entries.1.place: 'tabel1' is not declared; allowed: figure1, "),
        ({"mark": "S3"}, "entries.1.mark: 'S3' is not allowed; allowed: F, V, S2, S2*"),
        ({"method": "sdop"}, "entries.1.method: 'sdop' is not allowed"),
        ({"words": {"wiat": 1.0}}, "entries.1.words.wiat: 'wiat' is not allowed; allowed: wait, hmm"),
        ({"steps": [0, 10], "values": [0.5]}, "2 `steps` must have as many `values`, not 1"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_key(tmp_path, change, message):
    with pytest.raises(StudyError) as error:
        of(tmp_path / "reported.yaml", SCORE | change)
    assert "reported.yaml: " in str(error.value) and message in str(error.value)


@pytest.mark.parametrize("key", ["quantity", "mark", "place", "paper"])
def test_an_entry_without_a_needed_key_is_refused(tmp_path, key):
    with pytest.raises(StudyError, match=rf"reported\.yaml: entries\.1\.{key}: missing"):
        of(tmp_path / "reported.yaml", {name: SCORE[name] for name in SCORE if name != key})


def test_an_entry_that_says_nothing_is_refused(tmp_path):
    nothing = {name: SCORE[name] for name in SCORE if name != "value"}
    with pytest.raises(StudyError, match=r"`value`, `steps`, `words` or `text` must be given"):
        of(tmp_path / "reported.yaml", nothing)
    assert of(tmp_path / "reported.yaml", nothing | {"value": None})[1].value is None, "unknown"


def test_every_known_quantity_is_reported():
    found = {entry.quantity for entry in reported_entries(CONFIG / "reported.yaml")}
    assert found == set(MEASURES) | set(NOT_LEVELS) and not set(MEASURES) & set(NOT_LEVELS)
