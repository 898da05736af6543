"""The published results: complete, and still fitting the ledger's file and the code that reads them."""

import json
import shutil
from collections.abc import Sequence
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
    finish("study=mini replicates=0 models=r1-mini")
    with pytest.raises(StudyError, match=r"leaves out experiments or models \(.* models=r1-mini\)"):
        publish("mini")
    finish("study=mini replicates=0")
    Path(Paths("mini").claims("json")).unlink()
    with pytest.raises(StudyError, match="claims.json: missing; finish the study first"):
        publish("mini")
    assert not (elsewhere / "docs").exists()


def finish(chosen: str, inputs: Sequence[str] = ()) -> list[str]:
    """Write what `publish` copies of the mini study, with a report of this command; return the files copied."""
    paths = Paths("mini")
    pictures = [paths.overview, *(partial(paths.figure, figure) for figure in FIGURES)]
    sources = [paths.claims("json"), paths.claims("md"), paths.table("diagnosis", "md"), paths.diagnosed]
    sources += [picture(suffix) for picture in pictures for suffix in ("png", "txt")]
    sources += [paths.table(table, "md") for table in TABLES if table != "interventions"]
    for source in sources:
        Path(source).parent.mkdir(parents=True, exist_ok=True)
        Path(source).write_text("{}", encoding="utf-8")
    write_manifest(paths.report, inputs, {"command": f"snakemake --config {chosen}"})
    return sources


def write_manifest(output: str, inputs: Sequence[str] = (), job: dict | None = None) -> None:
    """Write the manifest of a job."""
    manifest = {
        "config": {"job": job or {}},
        "git_commit": "abc",
        "python": "3.11",
        "packages": {"torch": "2"},
        "device": "cpu",
        "wall_seconds": 1.5,
        "peak_memory_mb": 10,
        "tokens": None,
        "inputs": inputs,
        "outputs": [output],
        "facts": {"refused draws": 1} if "bases" in output else {},
    }
    path = Path(Paths("mini").manifest(output))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(manifest), encoding="utf-8")


def test_a_finished_study_is_copied_with_the_provenance_of_what_its_report_rests_on(elsewhere):
    """An earlier command may have left other runs."""
    paths = Paths("mini")
    base, problems, samples, other = (
        paths.base("r1-mini", 1),
        paths.benchmark("paired"),
        "results/mini/runs/a",
        "results/mini/runs/b",
    )
    copied = finish("study=mini replicates=1,2 seeds=0", [samples, paths.report])
    write_manifest(samples, [base, problems, "config/claims.yaml"])
    for output in (base, problems, other):
        write_manifest(output)
    written = publish("mini")
    facts = json.loads((elsewhere / "docs/results/mini/provenance.json").read_text(encoding="utf-8"))
    assert {path.name for path in written} == {*(Path(source).name for source in copied), "provenance.json"}
    assert facts["command"] == "snakemake --config study=mini replicates=1,2 seeds=0"
    assert (facts["replicates"], facts["seeds"], facts["packages"]) == ([1, 2], [0], ["torch 2"])
    assert facts["jobs"] == 4, "report, samples, base and problems"
    assert facts["refused_draws"] == {base: 1}


def test_a_study_outside_of_config_is_published_too(elsewhere):
    (elsewhere / "own").mkdir()
    for path in (ROOT / "config").glob("*.yaml"):
        shutil.copy(path, elsewhere / "own" / path.name)
    copied = finish("study=mini replicates=0 seeds=0")
    assert len(publish("own/mini.yaml")) == len(copied) + 1
