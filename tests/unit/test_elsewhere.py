"""What others measured: the file, its refusals, its readings against its own numbers, and where the ledger shows it."""

from pathlib import Path

import pytest
import yaml
from synthetic_study import claims_record

from selfdistill.claims.elsewhere import Elsewhere, Measurement, load_elsewhere, readings_text
from selfdistill.report.claims_page import to_html, to_markdown
from selfdistill.report.deciding import deciding_rows
from selfdistill.report.overview import WIDE, number_lines
from selfdistill.report.tables.reported import load_reported
from selfdistill.study.yaml import StudyError

CONFIG = Path(__file__).parents[2] / "config"
ENTRY = {
    "who": "W", "source": "2601.00001", "model": "M", "setting": "S", "benchmark": "B", "quantity": "Q",
    "base": 2.0, "self_distillation": [1.0, 1.5], "mark": "code", "readings": {"C5": "supports"},
}  # fmt: skip


@pytest.fixture(scope="module")
def elsewhere(ledger) -> Elsewhere:
    return load_elsewhere(CONFIG / "elsewhere.yaml", ledger)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            {"readings": {"C99": "supports"}},
            "entries.0.readings: unknown claim or clause 'C99'; allowed: C1a",
        ),
        ({"readings": {"C8": "supports"}}, "did you mean C8"),  # a claim with clauses
        ({"readings": {"C5a": "supports"}}, "unknown claim or clause 'C5a'"),  # a claim without
        ({"readings": {"C5": "yes"}}, "'yes' is not allowed; allowed: supports, against, mixed, silent"),
        ({"readings": {}}, "at least 1"),
        ({"mark": "2nd"}, "entries.0.mark: '2nd' is not allowed; allowed: F, V, S2"),
        ({"source": "a blog"}, "entries.0.source"),
        ({"base": "52"}, "entries.0.base"),
        ({"self_distillation": [1.0]}, "entries.0.self_distillation"),
        ({"self_distillation": [2.0, 1.0]}, "`self_distillation` must be [smallest, largest]"),
        ({"self_distillation": None}, "`self_distillation` or a `note` must be given"),
        ({"verdict": "x"}, "entries.0.verdict: unknown key"),
    ],
)
def test_a_wrong_entry_is_refused_with_its_key(tmp_path, ledger, change, message):
    path = tmp_path / "elsewhere.yaml"
    path.write_text(yaml.safe_dump({"entries": [ENTRY | change]}), encoding="utf-8")
    with pytest.raises(StudyError, match=r"elsewhere\.yaml: entries\.0") as error:
        load_elsewhere(path, ledger)
    assert message in str(error.value)


def ends(level) -> tuple[float, float]:
    return (level[0], level[-1]) if isinstance(level, list) else (level, level)


def test_readings_of_the_fall_below_the_base_are_those_of_the_numbers(elsewhere):
    """C5 where both numbers are known: all below the base supports, none below is against, else mixed; else it is silent."""
    checked = 0
    for one in elsewhere.entries:
        if "silent" in one.readings.values():
            assert "not known" in one.note, one.text
        elif "C5" in one.readings and one.self_distillation is not None and one.base is None:
            assert "below the base" in one.note or "about 0" in one.note, one.text
        elif "C5" in one.readings and None not in (one.base, one.self_distillation):
            low, high = ends(one.self_distillation)
            expected = "supports" if high < one.base else "against" if low >= one.base else "mixed"
            assert one.readings["C5"] == expected, one.text
            checked += 1
    assert checked >= 6
    grpo = [one for one in elsewhere.entries if "C6" in one.readings]
    assert all((one.readings["C6"] == "supports") == (one.grpo >= one.base) for one in grpo)


def test_numbers_are_shown_with_mark_note_and_source():
    one = Measurement(**ENTRY | {"note": "N"})
    assert one.text == "M, S; B, Q: base 2, self-distillation 1 to 1.5; N [code]"
    assert one.link == "https://arxiv.org/abs/2601.00001"
    issue = Measurement(**ENTRY | {"source": "owner/name#7"})
    assert issue.link == "https://github.com/owner/name/issues/7"


def test_readings_are_counted_for_and_against():
    assert readings_text([]) == ""
    readings = ["supports", "silent", "mixed", "supports", "against"]
    assert readings_text([{"reading": one} for one in readings]) == "2 for, 1 against, 1 mixed, 1 silent"


def test_a_claim_gets_its_own_readings_with_their_clause():
    entries = [Measurement(**ENTRY), Measurement(**ENTRY | {"readings": {"C8a": "against", "C5": "mixed"}})]
    found = Elsewhere(entries=entries)
    assert [(one["clause"], one["reading"]) for one in found.of_claim("C5")] == [
        ("", "supports"),
        ("", "mixed"),
    ]
    assert [(one["clause"], one["reading"]) for one in found.of_claim("C8")] == [("a", "against")]
    assert found.of_claim("C1") == found.of_claim("C15") == []


def test_the_ledger_shows_them_beside_paper_and_ours_and_judges_without_them(elsewhere):
    record = claims_record()
    claim = next(one for one in record["claims"] if one["name"] == "C5")
    count = readings_text(claim["elsewhere"])
    assert claim["elsewhere"] == elsewhere.of_claim("C5")
    text, page = to_markdown(record), to_html(record)
    (row,) = [line for line in text.splitlines() if line.startswith("| C5. ")]
    assert row.endswith(f"| {count} |")
    for shown in (text, page):
        assert "abstract: only the abstract or an excerpt was read" in shown
    assert "- against: [RLCSD](https://github.com/THU-BPM/RLCSD), Qwen3-8B" in text
    assert f"<td>{count}</td>" in page
    assert "<li>against: RLCSD (THU-BPM/RLCSD), Qwen3-8B" in page
    assert "http" not in page  # the report asks no other host for anything
    row = deciding_rows(record, load_reported(CONFIG / "reported.yaml"))["C8a"]
    assert "elsewhere: 1 for, 1 against" in number_lines(row, WIDE)
    parts = [part for one in record["claims"] for part in one["parts"]]
    assert not any("elsewhere" in part for part in parts)
