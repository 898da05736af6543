"""What the benchmarks share that measure on the models of a finished study: its first replicate."""

import argparse
from pathlib import Path

from selfdistill.records.paths import Paths
from selfdistill.study.study import Study


def finished_study(text: str) -> Path:
    """The results folder that a command line names; refused where it is none."""
    if not Path(text).is_dir():
        raise argparse.ArgumentTypeError(
            f"{text}: no finished mini study there; run `make mini` first, or name it with --results"
        )
    return Path(text)


def add_results(parser: argparse.ArgumentParser) -> None:
    """Give a benchmark's command line its --results."""
    parser.add_argument(
        "--results", type=finished_study, default="results/mini", help="the finished mini study"
    )


def paths_in(results: Path) -> Paths:
    """The paths of the study whose results are in this folder."""
    paths = Paths(results.name)
    paths.results = str(results)
    return paths


def base_in(results: Path, study: Study, base: str) -> Path:
    """The folder of a base of the first replicate."""
    return Path(paths_in(results).base(base, study.base_replicate(base, study.file.replicates[0])))
