"""Options that commands share: which study, with which draws, experiments and models."""

import argparse
import sys
from collections.abc import Callable, Sequence
from functools import wraps
from typing import Any

from selfdistill.study.load import CHOICES, DRAWS, study_from_config
from selfdistill.study.study import Study
from selfdistill.study.yaml import StudyError

Main = Callable[[Sequence[str] | None], Any]


def add_study(parser: argparse.ArgumentParser, default: str = "mini") -> None:
    """Add `--study`, `--replicates` and `--seeds` in place of those of the study file, `--experiments` and `--models` of it."""
    parser.add_argument("--study", default=default, help="name of the study, or path of its file")
    for key in DRAWS:
        parser.add_argument(
            f"--{key}", help=f"{key} in place of those of the study file, such as 0,1,2 or 0-2"
        )
    parser.add_argument(
        "--experiments", help="only these experiments of the study file, such as on-policy,coverage"
    )
    parser.add_argument("--models", help="only these models of the study file, such as r1-mini,olmo3-mini")


def asked(options: argparse.Namespace) -> dict[str, str]:
    """Return the options of `add_study` that were given, as Snakemake's --config takes them."""
    return {key: value for key in ("study", *CHOICES) if (value := getattr(options, key)) is not None}


def study_of(options: argparse.Namespace) -> Study:
    """Return the study that the options of `add_study` ask for; raise StudyError."""
    return study_from_config(asked(options))


def refusing(main: Main) -> Main:
    """Return a command that ends with the message of a StudyError, and without a traceback."""

    @wraps(main)
    def own(arguments: Sequence[str] | None = None) -> Any:
        try:
            return main(arguments)
        except StudyError as error:
            sys.exit(str(error))

    return own
