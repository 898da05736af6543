"""Copies the results of a finished study to docs/results/NAME: its claims ledger, main tables, summary figures and diagnosed runs.

`python -m selfdistill.commands.publish --study mini`, or `make publish`. A reader of the repository can see these small
files without running anything. provenance.json records how they were made: command, commits, packages, devices, draws,
number of jobs and summed wall-clock time. A test checks them against config/claims.yaml.
"""

import argparse
import json
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from selfdistill.records.files import read_json, write_text
from selfdistill.records.paths import Paths
from selfdistill.report.loading import refused_draws
from selfdistill.study.load import study_from_config
from selfdistill.study.yaml import StudyError
from selfdistill.vocabulary.runs import DRAW

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
DIAGNOSIS = "diagnosis"
"""Table that goes with the finished runs, from which `selfdistill.commands.diagnose` learns."""


def manifests_of(results: str) -> list[dict[str, Any]]:
    """Return every manifest below a folder of results, including those of the report's parts."""
    return [read_json(path) for path in sorted(Path(results).rglob("*manifest.json"))]


def distinct(values: Iterable[object]) -> list[str]:
    """Return the distinct values, in order of appearance."""
    return list(dict.fromkeys(str(value) for value in values))


def provenance(study: str, manifests: list[dict[str, Any]]) -> dict[str, Any]:
    """Return how the results were made: command, commits, packages, devices, draws, refused bases, jobs, seconds and tokens."""
    runs = [
        manifest["config"]["job"]["run"]
        for manifest in manifests
        if "run" in manifest["config"].get("job", {})
    ]
    draws = {f"{name}s": sorted({run[name] for run in runs}) for name in DRAW}
    given = "".join(f" {key}={','.join(map(str, numbers))}" for key, numbers in draws.items())
    return {
        "command": f"snakemake --cores 2 --config study={study}{given}",
        "git_commits": distinct(manifest["git_commit"] for manifest in manifests),
        "python": distinct(manifest["python"] for manifest in manifests),
        "packages": distinct(
            f"{name} {version}" for m in manifests for name, version in m["packages"].items()
        ),
        "devices": distinct(manifest["device"] for manifest in manifests),
        **draws,
        "refused_draws": refused_draws(manifests),
        "jobs": len(manifests),
        "summed_wall_seconds": round(sum(manifest["wall_seconds"] for manifest in manifests)),
        "largest_job_mb": max(manifest["peak_memory_mb"] for manifest in manifests),
        "tokens": sum(manifest["tokens"] or 0 for manifest in manifests),
    }


def publish(
    study: str, figures: Iterable[str] = FIGURES, tables: Iterable[str] = TABLES, folder: Path = FOLDER
) -> list[Path]:
    """Copy a study's results to `folder`/study and return the files written; raise StudyError if the study is not finished.

    figures, tables: those that it has.
    """
    paths = Paths(study)
    sources = [paths.claims("json"), paths.claims("md"), paths.overview("png"), paths.overview("txt")]
    sources += [
        paths.figure(name, suffix) for name in FIGURES if name in figures for suffix in ("png", "txt")
    ]
    sources += [paths.table(name, "md") for name in TABLES if name in tables]
    if DIAGNOSIS in tables:
        sources += [paths.table(DIAGNOSIS, "md"), paths.diagnosed]
    if missing := [source for source in sources if not Path(source).exists()]:
        raise StudyError(f"{', '.join(missing)}: missing; finish the study first")
    target = folder / study
    target.mkdir(parents=True, exist_ok=True)
    written = [Path(shutil.copy(source, target)) for source in sources]
    record = json.dumps(provenance(study, manifests_of(paths.results)), indent=1)
    write_text(target / "provenance.json", record + "\n")
    return [*written, target / "provenance.json"]


def main(arguments: list[str] | None = None) -> None:
    """Copy the results and print the files written."""
    parser = argparse.ArgumentParser(prog="python -m selfdistill.commands.publish", description=__doc__)
    parser.add_argument("--study", default="mini", help="name of a finished study")
    options = parser.parse_args(arguments)
    study = study_from_config({"study": options.study})
    for path in publish(study.name, study.file.figures, study.file.tables):
        print(path)


if __name__ == "__main__":
    main()
