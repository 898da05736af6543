"""The published results: complete, and still fitting the ledger's file and the code that reads them."""

import json
from functools import partial
from pathlib import Path

import pytest

from selfdistill.claims.ledger import ledger_of
from selfdistill.claims.selection import PlannedPart
from selfdistill.claims.verdicts import VERDICTS, PartResult, part_record
from selfdistill.commands.publish import FIGURES, TABLES, publish
from selfdistill.records.paths import Paths
from selfdistill.report.claims_page import to_html, to_markdown
from selfdistill.study.load import load_study
from selfdistill.study.study import Study
from selfdistill.study.yaml import StudyError

ROOT = Path(__file__).parents[2]
PUBLISHED = sorted(path for path in (ROOT / "docs/results").iterdir() if path.is_dir())


@pytest.fixture(params=PUBLISHED, ids=[path.name for path in PUBLISHED])
def published(request) -> Path:
    """The folder of one published study."""
    return request.param


def study_at(published: Path) -> Study:
    """The study file of a published study."""
    return load_study(ROOT / f"config/{published.name}.yaml")


def test_a_published_ledger_fits_the_claims_and_the_code(published):
    record = json.loads((published / "claims.json").read_text(encoding="utf-8"))
    ledger = ledger_of(study_at(published))
    assert {claim["name"]: claim["statement"] for claim in record["claims"]} == {
        name: claim.statement for name, claim in ledger.claims.items()
    }
    assert {claim["verdict"] for claim in record["claims"]} <= set(VERDICTS)
    fields = set(part_record(PartResult(PlannedPart("C1", "x", "m", "accuracy", "ood"))))
    for claim in record["claims"]:
        assert all(set(part) == fields for part in claim["parts"])
    assert to_markdown(record) == (published / "claims.md").read_text(encoding="utf-8")
    assert to_html(record)


def test_published_results_say_what_made_them_and_are_complete(published):
    facts = json.loads((published / "provenance.json").read_text(encoding="utf-8"))
    assert facts["replicates"] == list(range({"mini": 3, "beyond": 5}[published.name]))
    assert all(commit and "+changes" not in commit for commit in facts["git_commits"])
    assert facts["jobs"] > 200
    file = study_at(published).file
    pictures = {"overview", *FIGURES} & {"overview", *file.figures}
    expected = {f"{name}{suffix}" for name in pictures for suffix in (".png", ".txt")}
    expected |= {f"{name}.md" for name in ("claims", *TABLES) if name == "claims" or name in file.tables}
    assert expected <= {path.name for path in published.iterdir()}


def test_an_unfinished_study_is_not_published(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StudyError, match="claims.json.*missing; finish the study first"):
        publish("mini")
    assert not (tmp_path / "docs").exists()


def test_a_finished_study_is_copied_with_its_provenance(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = Paths("mini")
    pictures = [paths.overview, *(partial(paths.figure, name) for name in FIGURES)]
    sources = [paths.claims("json"), paths.claims("md")]
    sources += [picture(suffix) for picture in pictures for suffix in ("png", "txt")]
    sources += [paths.table(name, "md") for name in TABLES]
    manifest = {
        "config": {"job": {"run": {"replicate": 0, "seed": 1}}},
        "git_commit": "abc",
        "python": "3.11",
        "packages": {"torch": "2"},
        "device": "cpu",
        "wall_seconds": 1.5,
        "peak_memory_mb": 10,
        "tokens": None,
        "outputs": ["a"],
        "facts": {"refused draws": 1},
    }
    for name in [*sources, "results/mini/runs/a.manifest.json"]:
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text(json.dumps(manifest), encoding="utf-8")
    written = publish("mini")
    facts = json.loads((tmp_path / "docs/results/mini/provenance.json").read_text(encoding="utf-8"))
    assert len(written) == len(sources) + 1
    assert (facts["seeds"], facts["jobs"], facts["packages"]) == ([1], 1, ["torch 2"])
    assert facts["refused_draws"] == {"a": 1}


def test_a_study_with_fewer_figures_is_copied_too(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    paths = Paths("small")
    kept = [
        picture(suffix)
        for picture in (paths.overview, partial(paths.figure, "figure3"))
        for suffix in ("png", "txt")
    ]
    for name in (paths.claims("json"), paths.claims("md"), *kept):
        Path(name).parent.mkdir(parents=True, exist_ok=True)
        Path(name).write_text("{}", encoding="utf-8")
    monkeypatch.setattr("selfdistill.commands.publish.provenance", lambda study, manifests: {})
    names = [path.name for path in publish("small", figures=["figure3"], tables=[])]
    assert names == [
        "claims.json",
        "claims.md",
        "overview.png",
        "overview.txt",
        "figure3.png",
        "figure3.txt",
        "provenance.json",
    ]
    with pytest.raises(StudyError, match="tables/diagnosis.md, results/small/diagnosis.csv: missing"):
        publish("small", figures=["figure3"], tables=["diagnosis"])
    with pytest.raises(StudyError, match=r"figure1.png, .*figure1.txt: missing"):
        publish("small", figures=["figure1", "figure3"], tables=[])
