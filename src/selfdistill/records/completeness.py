"""What a folder or file holds is what the study declares: checkpoints and samples are checked where they are read."""

import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from selfdistill.records.file_lists import FILE_LIST, check_files, read_file_list
from selfdistill.records.resume import number_of

if TYPE_CHECKING:
    import pandas

logger = logging.getLogger(__name__)


class Incomplete(ValueError):
    """A folder or file does not hold what the study declares; names it and what is missing."""


def checkpoint_folders(folder: Path, steps: Collection[int] | None = None) -> dict[int, Path]:
    """Return step -> model folder of a run's checkpoints.

    steps: those that the study declares; None for those that the training listed (SFT, whose last step depends
    on the rows of its data). Raises Incomplete where they differ and Damaged where a listed file is missing or
    cut; what is not listed is named in a warning and left alone.
    """
    listed = {
        number_of(path): path for path in (folder / Path(name).parent for name in read_file_list(folder))
    }
    if steps is not None and set(steps) != set(listed):
        raise Incomplete(
            f"{folder}: declared steps: {_join(sorted(steps))}; steps of the training: {_join(sorted(listed))}"
        )
    check_files(folder)
    for path in listed.values():
        check_files(path, contents=False)
    known = {FILE_LIST, *(path.name for path in listed.values())}
    stray = sorted(path.name for path in folder.iterdir() if path.name not in known and path.name[0] != ".")
    if stray:
        logger.warning("%s: ignored, for the training did not write it: %s", folder, _join(stray))
    return dict(sorted(listed.items()))


def check_samples(
    frame: "pandas.DataFrame",
    steps: Collection[int] | None,
    benchmarks: Mapping[str, Collection[str]] | Collection[str],
    samples: int,
    path: str | Path,
) -> None:
    """Raise Incomplete if `frame` (the samples read from `path`) is not steps x benchmarks x problems x samples.

    steps: None for exactly one, whichever (SFT). benchmarks: name -> ids of its problems; names alone where these
    are not known, then every step must have the problems of the others.
    """
    found = sorted(frame["step"].unique())
    if steps is None and len(found) != 1:
        raise Incomplete(f"{path}: steps {_join(found)}; one is declared")
    _same(found, found if steps is None else steps, "step", path)
    _same(frame["benchmark"].unique(), benchmarks, "benchmark", path)
    for benchmark, rows in frame.groupby("benchmark", observed=True):
        problems = benchmarks[benchmark] if isinstance(benchmarks, Mapping) else rows["problem_id"].unique()
        for step in found:
            place = f"{path}: step {step}, benchmark {benchmark}"
            _check_problems(rows[rows["step"] == step], problems, samples, place)


def _check_problems(rows: "pandas.DataFrame", problems: Collection[str], samples: int, place: str) -> None:
    _same(rows["problem_id"].unique(), problems, "problem", place)
    numbers = rows.groupby("problem_id", observed=True)["sample_index"].agg(
        lambda column: tuple(sorted(column))
    )
    for problem, indices in numbers[numbers != tuple(range(samples))].items():
        raise Incomplete(
            f"{place}, problem {problem}: samples {_join(indices)}; declared: 0 to {samples - 1}"
        )


def _same(found: Collection, declared: Collection, what: str, place: str | Path) -> None:
    missing, extra = sorted(set(declared) - set(found)), sorted(set(found) - set(declared))
    if missing or extra:
        parts = [
            f"{word} {what}s: {_join(names)}"
            for word, names in (("missing", missing), ("undeclared", extra))
            if names
        ]
        raise Incomplete(f"{place}: {'; '.join(parts)}")


def _join(values: Collection) -> str:
    return ", ".join(map(str, values)) or "none"
