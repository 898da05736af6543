r"""Problems from data files: fetched or local, verified before anything is made of them.

Paper: the data sets of sections 3 to 6 (paper.md 4.1, 4.5, 9). A source is a section of the config
(`data_settings.HubSource`); where the variable SELFDISTILL_DATA (or `data_root` of the study file) names a
folder, its `local` file is read instead of the hub or address. Nested columns and columns that hold JSON text
are the same here: the authors' evaluation files mix both. Whatever is wrong with a file raises SourceError
with its name: missing, another SHA-256, unreadable, cut, too few rows, a missing column, an empty answer.
"""

import json
import logging
import os
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from selfdistill.problems.packaged import SCHEME, package_file
from selfdistill.problems.problem import Problem
from selfdistill.problems.rows import SourceError, read_rows
from selfdistill.records.file_lists import file_hash
from selfdistill.records.pins import OtherPin, pin

logger = logging.getLogger(__name__)

DATA_ROOT = "SELFDISTILL_DATA"
"""Variable with the folder of the local files; the study file's `data_root` sets it where it is not set."""

DAPO_HEAD = "Solve the following math problem step by step."
DAPO_TAIL = 'Remember to put your answer on its own line after "Answer:".'


def read_hub_problems(dataset: str, source: Mapping[str, Any], count: int | None = None) -> list[Problem]:
    """The distinct problems of a source in the file's order, the first `count` of them.

    source: a HubSource as a mapping. Questions repeated with the same answer are kept once (DAPO-Math-17k holds
    each many times).
    Raises SourceError.
    """
    name, rows = source_rows(source)
    expected = source.get("expect") or {}
    if not len(rows):
        raise SourceError(f"{name}: holds no row")
    check_count(name, "rows", len(rows), [expected["rows"]] if expected.get("rows") else [])
    found: dict[str, Problem] = {}
    for index, row in enumerate(rows):
        if count is not None and len(found) == count:
            continue  # the rest is only read: a file that is cut is refused
        problem = to_problem(dataset, source, row, index, name)
        check_repeat(found.setdefault(problem.question, problem), problem, name)
    if count is None or len(found) < count:
        check_count(name, "distinct questions", len(found), expected.get("distinct") or [])
    return list(found.values())


def check_repeat(first: Problem, problem: Problem, name: str) -> None:
    """Raise SourceError if a question is repeated with another answer: one of the two grades right responses as wrong."""
    if first.answers != problem.answers:
        raise SourceError(
            f"{name}: {first.problem_id} and {problem.problem_id} ask the same question with different answers "
            f"({first.answers[0]!r}, {problem.answers[0]!r}): keep one of them in a copy, named by `local`"
        )


def to_problem(
    dataset: str, source: Mapping[str, Any], row: Mapping[str, Any], index: int, name: str
) -> Problem:
    """One row as a Problem; raises SourceError naming file, row and column."""
    where = f"{name}: row {index}"
    question, answer = (required(row, source[key], where) for key in ("question", "answer"))
    if source.get("rewrite") == "dapo":
        question = strip_dapo_instructions(question, where)
    if source.get("instructions"):
        question = f"{required(row, source['instructions'], where)}\n\n{question}"
    question = f"{source.get('prefix', '')}{question}{source.get('suffix', '')}"
    key = required(row, source["id"], where) if source.get("id") else f"{dataset}-{index}"
    grading = source.get("grading", "boxed")
    metadata = json.dumps({"grading": grading}) if grading != "boxed" else "{}"
    return Problem(key, dataset, dataset, question, (answer,), metadata)


def required(row: Mapping[str, Any], path: str, where: str) -> str:
    """The text at a dotted path of a row; raises SourceError if it is not there or empty."""
    try:
        value = descend(row, path)
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise SourceError(f"{where} has no `{path}`; columns: {', '.join(row)}") from error
    if value is None or not str(value).strip():
        raise SourceError(f"{where}: `{path}` is empty")
    if isinstance(value, list | dict):
        raise SourceError(f"{where}: `{path}` is a {type(value).__name__}, not text: {str(value)[:60]}")
    return str(value)


def descend(row: Any, path: str) -> Any:
    """The value at a dotted path: names descend into mappings, numbers into lists (`prompt.0.content`).

    A text on the way is read as JSON (half of the authors' files store nested columns so).
    """
    for part in path.split("."):
        row = json.loads(row) if isinstance(row, str) else row
        row = row[int(part)] if part.isdigit() else row[part]
    return row


def strip_dapo_instructions(text: str, where: str = "question") -> str:
    """A DAPO-Math-17k prompt without its `Answer:` instructions (authors' change_math_prompts.py, paper.md 4.1).

    The head is one paragraph that begins with DAPO_HEAD, the tail is DAPO_TAIL. Raises SourceError where
    either is missing: the row is then not of the expected data set.
    """
    head, _, body = text.strip().partition("\n\n")
    if not head.startswith(DAPO_HEAD) or not body.endswith(DAPO_TAIL):
        raise SourceError(
            f"{where}: question is not wrapped in the DAPO-Math-17k instructions: {text[:60]!r}"
        )
    return body.removesuffix(DAPO_TAIL).strip()


def check_count(name: str, what: str, count: int, expected: list[int]) -> None:
    """Raise SourceError unless `count` is the expected number (or between the expected two)."""
    if expected and not expected[0] <= count <= expected[-1]:
        allowed = " to ".join(map(str, dict.fromkeys(expected)))
        raise SourceError(f"{name}: {count} {what}, expected {allowed}: truncated, or another file")


def source_rows(source: Mapping[str, Any]) -> tuple[str, Collection[Mapping[str, Any]]]:
    """(name for messages, rows) of a source, its file verified where it is a file."""
    path = source_file(source)
    if path is None:
        import datasets

        rows = datasets.load_dataset(
            source["repo_id"], source.get("name"), split=source["split"], revision=source.get("revision")
        )
        return source["repo_id"], rows
    verify_hash(path, (source.get("expect") or {}).get("sha256"))
    hold_file(source, path)
    declared = source.get("local") or source.get("data_files") or ""
    return str(path), read_rows(path, Path(declared).suffix or path.suffix)


def local_file(source: Mapping[str, Any]) -> Path | None:
    """The file of a source on this machine: of a package, below the data root, or by its path; None if it must be fetched."""
    root, files = os.environ.get(DATA_ROOT), source.get("data_files")
    if files and files.startswith(SCHEME):
        return package_file(files)
    if root:
        if not source.get("local"):
            raise SourceError(f"{source['repo_id']}: no `local` file is declared, but {DATA_ROOT} is set")
        return existing(Path(root) / source["local"])
    if files and "://" not in files and source["repo_id"] in ("json", "parquet"):
        return existing(Path(files))
    return None


def source_file(source: Mapping[str, Any]) -> Path | None:
    """The file of a source, fetched where it is not on this machine; None for a whole repository."""
    path, files = local_file(source), source.get("data_files")
    if path is not None or files is None:
        return path
    if "://" in files:
        import datasets

        return Path(datasets.DownloadManager().download(files))
    from huggingface_hub import hf_hub_download

    revision = source.get("revision")
    return Path(hf_hub_download(source["repo_id"], files, repo_type="dataset", revision=revision))


def existing(path: Path) -> Path:
    """`path`, or SourceError with the folder's files."""
    if path.is_file():
        return path
    if not path.parent.is_dir():
        raise SourceError(f"{path}: the folder {path.parent} does not exist ({DATA_ROOT}, or `data_root`)")
    there = sorted(other.name for other in path.parent.glob("*"))
    raise SourceError(f"{path}: no such file; the folder holds: {', '.join(there[:20]) or 'nothing'}")


def verify_hash(path: Path, expected: str | None) -> None:
    """Raise SourceError if the file's SHA-256 is not the expected one."""
    if expected is None:
        return
    found = file_hash(path)
    if found != expected:
        raise SourceError(
            f"{path}: SHA-256 {found}, expected {expected}: corrupted, truncated or another version "
            "(expect.sha256: null in the config accepts another copy with the same rows)"
        )


def hold_file(source: Mapping[str, Any], path: Path) -> None:
    """Hold the study to the contents of a fetched file whose hash the config does not name, also where a local copy is read."""
    files, repository = source.get("data_files") or "", source["repo_id"] not in ("json", "parquet")
    if (
        (source.get("expect") or {}).get("sha256")
        or files.startswith(SCHEME)
        or not (repository or "://" in files)
    ):
        return
    name = f"{source['repo_id']}@{source.get('revision') or 'main'}/{files}" if repository else files
    try:
        pin(name, f"sha256:{file_hash(path)}")
    except OtherPin as error:
        raise SourceError(f"{path}: {error}") from error


def missing_from(subset: Iterable[Problem], whole: Iterable[Problem]) -> int:
    """How many problems of a subset's file are not in the whole set, by question."""
    questions = {problem.question for problem in whole}
    return sum(problem.question not in questions for problem in subset)
