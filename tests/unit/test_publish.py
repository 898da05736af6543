"""The published results: complete, and still fitting the ledger's file and the code that reads them."""

import json
from functools import partial
from pathlib import Path

import pytest

from selfdistill.claims.ledger import ledger_of
from selfdistill.claims.selection import PlannedPart, plan_claims
from selfdistill.claims.verdicts import VERDICTS, PartResult, part_record
from selfdistill.commands.publish import FIGURES, TABLES, publish
from selfdistill.records.paths import Paths
from selfdistill.report.claims_page import to_html, to_markdown
from selfdistill.study.load import load_study, study_from_config
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
    assert record["alpha"] == ledger.alpha
    facts = json.loads((published / "provenance.json").read_text(encoding="utf-8"))
    study = load_study(ROOT / f"config/{published.name}.yaml", replicates=facts["replicates"])
    planned = [part_record(PartResult(part)) for part in plan_claims(ledger, study)]
    rule = (
        "name",
        "model",
        "metric",
        "benchmark",
        "relative",
        "above",
        "below",
        "margin",
        "clause",
        "counts",
    )
    stored = [[part[key] for key in rule] for claim in record["claims"] for part in claim["parts"]]
    assert sorted(map(repr, stored)) == sorted(repr([part[key] for key in rule]) for part in planned)
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


@pytest.fixture
def elsewhere(tmp_path, monkeypatch):
    """An empty working directory, from which the study files are read all the same."""
    monkeypatch.chdir(tmp_path)
    read = partial(study_from_config, folder=ROOT / "config")
    monkeypatch.setattr("selfdistill.commands.publish.study_from_config", read)
    return tmp_path


def test_an_unfinished_study_is_not_published(elsewhere):
    with pytest.raises(StudyError, match="report.manifest.json: missing; finish the study first"):
        publish("mini")
    finish("mini", "study=mini")
    Path(Paths("mini").claims("json")).unlink()
    with pytest.raises(StudyError, match="claims.json: missing; finish the study first"):
        publish("mini")
    assert not (elsewhere / "docs").exists()


def finish(name: str, chosen: str) -> list[str]:
    """Write what `publish` copies of a study, with a report of this command; return the files copied."""
    paths = Paths(name)
    pictures = [paths.overview, *(partial(paths.figure, figure) for figure in FIGURES)]
    sources = [paths.claims("json"), paths.claims("md"), paths.table("diagnosis", "md"), paths.diagnosed]
    sources += [picture(suffix) for picture in pictures for suffix in ("png", "txt")]
    sources += [paths.table(table, "md") for table in TABLES]
    report = manifest(paths.report, {"command": f"snakemake --config {chosen}"})
    for source in [*sources, paths.manifest(paths.report)]:
        Path(source).parent.mkdir(parents=True, exist_ok=True)
        Path(source).write_text(json.dumps(report), encoding="utf-8")
    return sources


def manifest(output: str, job: dict) -> dict:
    """The manifest of a job."""
    return {
        "config": {"job": job},
        "git_commit": "abc",
        "python": "3.11",
        "packages": {"torch": "2"},
        "device": "cpu",
        "wall_seconds": 1.5,
        "peak_memory_mb": 10,
        "tokens": None,
        "outputs": [output],
        "facts": {"refused draws": 1},
    }


def test_a_finished_study_is_copied_with_the_provenance_of_what_its_report_shows(elsewhere):
    """An earlier command may have left runs of other draws and models."""
    copied = finish("mini", "study=mini replicates=0,1 seeds=0 models=r1-mini")
    runs = [("r1-mini", 0), ("r1-mini", 1), ("r1-mini", 2), ("olmo3-mini", 0)]
    for number, (model, replicate) in enumerate(runs):
        job = {"run": {"model": model, "replicate": replicate, "seed": 0}}
        path = Path(f"results/mini/runs/{number}.manifest.json")
        path.parent.mkdir(exist_ok=True)
        path.write_text(json.dumps(manifest(f"results/mini/runs/{number}", job)), encoding="utf-8")
    for replicate in (1, 2):
        path = Path(f"results/mini/bases/b/replicate-{replicate}/model.manifest.json")
        path.parent.mkdir(parents=True)
        path.write_text(json.dumps(manifest(str(path), {"base": "b"})), encoding="utf-8")
    written = publish("mini")
    facts = json.loads((elsewhere / "docs/results/mini/provenance.json").read_text(encoding="utf-8"))
    absent = ("interventions.md", "figure7.", "figure8.")  # not in the study, or not of this model
    names = {Path(source).name for source in copied if not Path(source).name.startswith(absent)}
    assert {path.name for path in written} == names | {"provenance.json"}
    assert facts["command"].startswith("snakemake --config study=mini replicates=0,1 seeds=0 ")
    assert facts["command"].endswith(" models=r1-mini")
    assert (facts["replicates"], facts["seeds"], facts["packages"]) == ([0, 1], [0], ["torch 2"])
    assert facts["jobs"] == 4, "two runs, a base and the report"
    assert len(facts["refused_draws"]) == 4
