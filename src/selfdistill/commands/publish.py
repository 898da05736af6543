"""Copies the results of a finished study to docs/results/NAME: its claims ledger, main tables, summary figures and diagnosed runs.

`python -m selfdistill.commands.publish --study mini`, or `make publish`. A reader of the repository can see these small
files without running anything. provenance.json records how they were made: command, commits, packages, devices, draws,
number of jobs and summed wall-clock time, counted over the jobs that the report rests on. A test checks them against config/claims.yaml.
"""

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selfdistill.commands.options import refusing
from selfdistill.records.files import read_json, write_text
from selfdistill.records.paths import MANIFESTS, Paths
from selfdistill.report.loading import refused_draws
from selfdistill.study.load import study_from_config
from selfdistill.study.shown import command_of
from selfdistill.study.study import Study
from selfdistill.study.yaml import StudyError

FOLDER = Path("docs/results")
FIGURES = (
    "figure1",
    "figure3",
    "figure6",
    "figure7",
    "figure8",
    "figure12",
    "dose-response",
    "prediction",
)
TABLES = ("table1", "richness", "table2", "main-results", "draws", "screening", "interventions")
WHOLE = ("study", "replicates", "seeds")
"""Keys of --config that leave nothing of a study out."""
DIAGNOSIS = "diagnosis"
"""Table that goes with the finished runs, from which `selfdistill.commands.diagnose` learns."""


def reported_study(asked: str) -> Study:
    """Return the study that a report shows, with the draws and experiments of its command; raise StudyError if that is not all of the study.

    asked: name of the study, or path of its file.
    """
    paths = Paths(study_from_config({"study": asked}).name)
    manifest = Path(paths.manifest(paths.report))
    if not manifest.exists():
        raise StudyError(f"{manifest}: missing; finish the study first")
    command = read_json(manifest)["config"]["job"]["command"]
    given = dict(pair.split("=") for pair in command.split() if "=" in pair) | {"study": asked}
    study, whole = (
        study_from_config({key: given[key] for key in keys if key in given}) for keys in (given, WHOLE)
    )
    if not {*whole.runs()} <= {*study.runs()}:
        raise StudyError(
            f"{manifest}: its report leaves out experiments or models ({command}); finish the study first"
        )
    return study


def manifests_of(paths: Paths) -> list[dict[str, Any]]:
    """Return the manifest of every job that the report rests on, directly or not; results may hold those of earlier commands too."""
    jobs = {
        output: manifest
        for manifest in map(read_json, Path(paths.results).rglob(MANIFESTS))
        for output in manifest["outputs"]
    }
    found: dict[str, dict[str, Any]] = {}
    waiting = [paths.report]
    while waiting:
        if (manifest := jobs.get(waiting.pop())) and manifest["outputs"][0] not in found:
            found[manifest["outputs"][0]] = manifest
            waiting += manifest["inputs"]
    return [found[output] for output in sorted(found)]


def distinct(values: Iterable[object]) -> list[str]:
    """Return the distinct values, in order of appearance."""
    return list(dict.fromkeys(str(value) for value in values))


def provenance(study: Study) -> dict[str, Any]:
    """Return how the results were made: command, commits, packages, devices, draws, refused bases, jobs, seconds and tokens."""
    manifests = manifests_of(Paths(study.name))
    return {
        "command": command_of(study),
        "git_commits": distinct(manifest["git_commit"] for manifest in manifests),
        "python": distinct(manifest["python"] for manifest in manifests),
        "packages": distinct(
            f"{name} {version}" for m in manifests for name, version in m["packages"].items()
        ),
        "devices": distinct(manifest["device"] for manifest in manifests),
        "replicates": sorted(study.file.replicates),
        "seeds": sorted(study.file.seeds),
        "refused_draws": refused_draws(manifests),
        "jobs": len(manifests),
        "summed_wall_seconds": round(sum(manifest["wall_seconds"] for manifest in manifests)),
        "largest_job_mb": max(manifest["peak_memory_mb"] for manifest in manifests),
        "tokens": sum(manifest["tokens"] or 0 for manifest in manifests),
    }


def publish(asked: str, folder: Path = FOLDER) -> list[Path]:
    """Copy the results of a study to `folder`/NAME and return the files written.

    asked: name of the study, or path of its file. Raise StudyError if the study is not finished.
    """
    study = reported_study(asked)
    paths, figures, tables = Paths(study.name), study.file.figures, study.file.tables
    sources = [paths.claims("json"), paths.claims("md"), paths.overview("png"), paths.overview("txt")]
    sources += [
        paths.figure(name, suffix) for name in FIGURES if name in figures for suffix in ("png", "txt")
    ]
    sources += [paths.table(name, "md") for name in TABLES if name in tables]
    if DIAGNOSIS in tables:
        sources += [paths.table(DIAGNOSIS, "md"), paths.diagnosed]
    if missing := [source for source in sources if not Path(source).exists()]:
        raise StudyError(f"{', '.join(missing)}: missing; finish the study first")
    target = folder / study.name
    target.mkdir(parents=True, exist_ok=True)
    written = [Path(shutil.copy(source, target)) for source in sources]
    record = json.dumps(provenance(study), indent=1)
    write_text(target / "provenance.json", record + "\n")
    return [*written, target / "provenance.json"]


@refusing
def main(arguments: list[str] | None = None) -> None:
    """Copy the results and print the files written."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.publish", description=__doc__)
    parser.add_argument("--study", default="mini", help="name of a finished study, or path of its file")
    options = parser.parse_args(arguments)
    for path in publish(options.study):
        print(path)


if __name__ == "__main__":
    main()
