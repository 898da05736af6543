"""The rows of a parquet, JSON or JSON-lines file, verified to its end."""

import gzip
import json
import zlib
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.problems.problem import ProblemError
from selfdistill.records.files import BY_PAGES, whole_batches

if TYPE_CHECKING:
    import pyarrow.parquet

ROWS_AT_ONCE = 4096
"""Rows of a parquet file that are in memory as Python objects, several KB each. The hub's DAPO-Math-17k repeats its problems about 100 times."""


class SourceError(ProblemError):
    """A data file that is missing, damaged or not the expected one, by name."""


def read_rows(path: Path, suffix: str) -> Collection[dict[str, Any]]:
    """The rows of a parquet, JSON or JSON-lines file; raises SourceError if it cannot be read to its end."""
    if suffix == ".parquet":
        return ParquetRows.of(path)
    if suffix in (".json", ".jsonl", ".gz"):
        return read_json_rows(path)
    raise SourceError(f"{path}: unknown kind of file {suffix!r}; allowed: .parquet, .json, .jsonl, .jsonl.gz")


@dataclass(frozen=True)
class ParquetRows:
    """The rows of a parquet file, a batch of which is in memory at a time; raises SourceError where it cannot be read."""

    path: Path
    file: "pyarrow.parquet.ParquetFile"

    @classmethod
    def of(cls, path: Path) -> "ParquetRows":
        """The rows of the file at `path`."""
        import pyarrow.parquet

        with unreadable_as_parquet(path):
            return cls(path, pyarrow.parquet.ParquetFile(path, **BY_PAGES))

    def __len__(self) -> int:
        return self.file.metadata.num_rows

    def __contains__(self, row: object) -> bool:
        return any(row == other for other in self)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        batches = whole_batches(self.file, len(self), ROWS_AT_ONCE)
        while True:
            with unreadable_as_parquet(self.path):
                batch = next(batches, None)
            if batch is None:
                return
            yield from batch.to_pylist()


@contextmanager
def unreadable_as_parquet(path: Path) -> Iterator[None]:
    """Turn the errors of reading a damaged parquet file into SourceError with its name."""
    import pyarrow

    try:
        yield
    except (pyarrow.ArrowException, OSError) as error:
        raise SourceError(f"{path}: cannot be read as parquet: {str(error).splitlines()[0]}") from error


def read_json_rows(path: Path) -> list[dict[str, Any]]:
    """Rows of a file that is one JSON list, or one JSON object per line (the authors' `.json` are the latter)."""
    data = path.read_bytes()
    try:
        text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).decode("utf-8-sig")
    except (EOFError, OSError, ValueError, zlib.error) as error:
        raise SourceError(f"{path}: cannot be read ({error}): truncated or damaged") from error
    if text.lstrip().startswith("["):
        rows = list(parsed([(text, "list")], path))[0]
    else:
        lines = [(line, f"line {number}") for number, line in enumerate(text.split("\n"), 1) if line.strip()]
        rows = list(parsed(lines, path))
    for index, row in enumerate(rows):
        if not isinstance(row, dict):
            raise SourceError(f"{path}: row {index} is a {type(row).__name__}, not an object with columns")
    return rows


def parsed(texts: Iterable[tuple[str, str]], path: Path) -> Iterable[Any]:
    """Each JSON text; raises SourceError with its place in the file."""
    for text, place in texts:
        try:
            yield json.loads(text)
        except ValueError as error:
            raise SourceError(f"{path}: {place} is not valid JSON ({error}): truncated or damaged") from error
