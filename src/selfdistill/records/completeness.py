"""Checks, at reading time, that checkpoints and samples are exactly what the study declares."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.records.file_lists import FILE_LIST, check_files, read_file_list
from selfdistill.records.resume import number_of
from selfdistill.vocabulary.runs import LAST, Step

if TYPE_CHECKING:
    import pandas as pd

logger = logging.getLogger(__name__)


class Incomplete(ValueError):
    """A folder or file is not what the study declares; the message names it and what is missing."""


def checkpoint_folders(folder: Path, steps: Collection[Step]) -> dict[int, Path]:
    """Return the model folder of every checkpoint of a run, by step.

    steps: the declared steps; [LAST] for one of any number. Raise Incomplete if declared and listed steps differ, Damaged if a
    listed file is missing or has another size. Other files are ignored with a warning.
    """
    listed = {
        number_of(path): path for path in (folder / Path(name).parent for name in read_file_list(folder))
    }
    if set(steps) != set(listed) and not (LAST in steps and len(listed) == 1):
        raise Incomplete(f"{folder}: declared steps: {_join(steps)}; trained steps: {_join(sorted(listed))}")
    check_files(folder)
    for path in listed.values():
        check_files(path, contents=False)  # hashing the weights here would read them twice
    known = {FILE_LIST, *(path.name for path in listed.values())}
    stray = sorted(path.name for path in folder.iterdir() if path.name not in known and path.name[0] != ".")
    if stray:
        logger.warning("%s: ignored (not written by the training): %s", folder, _join(stray))
    return dict(sorted(listed.items()))


def check_samples(
    frame: "pd.DataFrame",
    step: Step,
    benchmarks: Mapping[str, Collection[str]] | Collection[str],
    samples: int,
    path: str | Path,
) -> None:
    """Raise Incomplete if `frame`, read from `path`, is not benchmarks x problems x samples of one step.

    step: the declared step; LAST for any. benchmarks: problem ids by benchmark, or names only if the ids are not known.
    """
    found = sorted(frame["step"].unique())
    if len(found) != 1:
        raise Incomplete(f"{path}: must have one step, has: {_join(found)}")
    _same(found, found if step == LAST else [step], "step", path)
    _same(frame["benchmark"].unique(), benchmarks, "benchmark", path)
    for benchmark, rows in frame.groupby("benchmark", observed=True):
        problems = benchmarks[benchmark] if isinstance(benchmarks, Mapping) else rows["problem_id"].unique()
        _check_problems(rows, problems, samples, f"{path}: step {found[0]}, benchmark {benchmark}")


def _check_problems(rows: "pd.DataFrame", problems: Collection[str], samples: int, place: str) -> None:
    """Raise Incomplete if `rows` are not samples 0 to `samples` - 1 of every problem."""
    _same(rows["problem_id"].unique(), problems, "problem", place)
    numbers = rows.groupby("problem_id", observed=True)["sample_index"].agg(
        lambda column: tuple(sorted(column))
    )
    for problem, indices in numbers[numbers != tuple(range(samples))].items():
        raise Incomplete(
            f"{place}, problem {problem}: samples {_join(indices)}; declared: 0 to {samples - 1}"
        )


def _same(found: Collection, declared: Collection, what: str, place: str | Path) -> None:
    """Raise Incomplete, which names the missing and the undeclared values, if the two sets differ."""
    missing, extra = sorted(set(declared) - set(found)), sorted(set(found) - set(declared))
    if missing or extra:
        parts = [
            f"{word} {what}s: {_join(names)}"
            for word, names in (("missing", missing), ("undeclared", extra))
            if names
        ]
        raise Incomplete(f"{place}: {'; '.join(parts)}")


def _join(values: Collection) -> str:
    """Return the values in one line for a message."""
    return ", ".join(map(str, values)) or "none"
