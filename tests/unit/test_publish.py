"""The published results: complete, and still fitting the ledger's file and the code that reads them."""

import json
from collections.abc import Iterable
from pathlib import Path

import pytest
import yaml

from selfdistill.claims.ledger import load_ledger
from selfdistill.claims.selection import PlannedPart
from selfdistill.claims.verdicts import VERDICTS, PartResult, part_record
from selfdistill.commands.publish import FIGURES, TABLES, publish
from selfdistill.records.paths import Paths
from selfdistill.report.claims_page import to_html, to_markdown
from selfdistill.study.yaml import StudyError

ROOT = Path(__file__).parents[2]
PUBLISHED = ROOT / "docs/results/mini"
NOT_YET = "not yet run"
"""Kept verdict of a claim that is newer than the published study, and so pending until it is published anew."""


def misfits(published: dict[str, str], kept: dict[str, str], ledger: Iterable[str]) -> list[str]:
    """Claims of the ledger that have no kept verdict, kept ones that it does not have, and those that were published with another
    verdict than the kept one: a published claim is known, and one that is missing is said to be pending.
    """
    known = {name: kept.get(name) for name in ledger}
    names = sorted({*published, *kept, *known})
    return [name for name in names if not kept.get(name) == known.get(name) == published.get(name, NOT_YET)]


def test_a_published_claim_is_known_and_a_missing_one_is_said_to_be_pending():
    published, kept = {"C1": "reproduced"}, {"C1": "reproduced", "X3": NOT_YET}
    assert misfits(published, kept, ["C1", "X3"]) == []
    assert misfits(published, {"C1": "reproduced"}, ["C1", "X3"]) == ["X3"], "missing silently"
    assert misfits({}, kept, ["C1", "X3"]) == ["C1"], "it was judged"
    assert misfits(published | {"X3": "reproduced"}, kept, ["C1", "X3"]) == ["X3"], "no longer pending"
    assert misfits(published | {"C9": "reproduced"}, kept, ["C1", "X3"]) == ["C9"], "unknown"
    assert misfits(published, kept, ["C1"]) == ["X3"], "has left the ledger"


def test_the_published_ledger_fits_the_claims_and_the_code():
    record = json.loads((PUBLISHED / "claims.json").read_text(encoding="utf-8"))
    ledger = load_ledger(ROOT / "config/claims.yaml")
    facts = json.loads((PUBLISHED / "provenance.json").read_text(encoding="utf-8"))
    earlier = yaml.safe_load((ROOT / "config/earlier_verdicts.yaml").read_text(encoding="utf-8"))
    if earlier["commit"] in facts["git_commits"]:  # judged by the earlier rule, whose verdicts are kept
        verdicts = {name: entry["verdict"] for name, entry in earlier["claims"].items()}
        published = {claim["name"]: claim["verdict"] for claim in record["claims"]}
        assert misfits(published, verdicts, ledger.claims) == []
        return
    assert {claim["name"]: claim["statement"] for claim in record["claims"]} == {
        name: claim.statement for name, claim in ledger.claims.items()
    }
    assert {claim["verdict"] for claim in record["claims"]} <= set(VERDICTS)
    fields = set(part_record(PartResult(PlannedPart("C1", "x", "m", "accuracy", "ood"))))
    for claim in record["claims"]:
        assert all(set(part) == fields for part in claim["parts"])
    assert to_markdown(record) == (PUBLISHED / "claims.md").read_text(encoding="utf-8")
    assert to_html(record)


def test_the_published_results_say_what_made_them():
    facts = json.loads((PUBLISHED / "provenance.json").read_text(encoding="utf-8"))
    assert facts["replicates"] == [0, 1, 2]
    assert all(commit and "+changes" not in commit for commit in facts["git_commits"])
    assert facts["jobs"] > 200
    names = {path.stem for path in PUBLISHED.iterdir()}
    assert {"overview", *FIGURES, *TABLES} <= names


def test_an_unfinished_study_is_not_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="claims.json.*missing; finish the study first"):
        publish("mini")
    assert not (tmp_path / "docs").exists()


def test_a_finished_study_is_copied_with_its_provenance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = Paths("mini")
    sources = [paths.claims("json"), paths.claims("md"), paths.overview("png")]
    sources += [paths.figure(name, "png") for name in FIGURES] + [paths.table(name, "md") for name in TABLES]
    manifest = {
        "config": {"job": {"run": {"replicate": 0, "seed": 1}}},
        "git_commit": "abc",
        "python": "3.11",
        "packages": {"torch": "2"},
        "device": "cpu",
        "wall_seconds": 1.5,
        "peak_memory_mb": 10,
        "tokens": None,
    }
    for name in [*sources, "results/mini/runs/a.manifest.json"]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(json.dumps(manifest), encoding="utf-8")
    written = publish("mini")
    facts = json.loads((tmp_path / "docs/results/mini/provenance.json").read_text(encoding="utf-8"))
    assert len(written) == len(sources) + 1
    assert (facts["seeds"], facts["jobs"], facts["packages"]) == ([1], 1, ["torch 2"])


def test_a_study_with_fewer_figures_is_copied_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = Paths("small")
    kept = (paths.overview("png"), paths.figure("figure3", "png"))
    for name in (paths.claims("json"), paths.claims("md"), *kept):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}", encoding="utf-8")
    monkeypatch.setattr("selfdistill.commands.publish.provenance", lambda study, manifests: {})
    names = [path.name for path in publish("small", figures=["figure3"], tables=[])]
    assert names == ["claims.json", "claims.md", "overview.png", "figure3.png", "provenance.json"]
    with pytest.raises(StudyError, match="tables/diagnosis.md, results/small/diagnosis.csv: missing"):
        publish("small", figures=["figure3"], tables=["diagnosis"])
    with pytest.raises(StudyError, match="figure1.png: missing"):
        publish("small", figures=["figure1", "figure3"], tables=[])
