"""What the benchmarks share that measure on the models of a finished study."""

import argparse
from pathlib import Path


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
