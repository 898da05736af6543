"""Files of results are written atomically and read with their schema."""

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.records.schemas import SCHEMA_VERSION, SchemaError, check_columns

if TYPE_CHECKING:
    import pandas
    import pyarrow


def write_table(path: str | Path, table: "pandas.DataFrame", schema: "pyarrow.Schema") -> None:
    """Write `table` as parquet with exactly `schema`, atomically.

    Raises SchemaError on other columns or types.
    """
    import pyarrow as pa
    import pyarrow.parquet

    check_columns(path, list(table.columns), schema)
    try:
        converted = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"{path}: {' '.join(str(part) for part in error.args)}") from error
    converted = converted.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})
    with atomic_path(path) as temporary:
        pyarrow.parquet.write_table(converted, temporary)


def read_table(
    path: str | Path, schema: "pyarrow.Schema", columns: Sequence[str] | None = None
) -> "pandas.DataFrame":
    """The table at `path`, or some of its `columns`.

    Raises SchemaError if the file does not have `schema`.
    """
    import pyarrow.parquet

    check_columns(path, pyarrow.parquet.read_schema(path).names, schema)
    return pyarrow.parquet.read_table(path, columns=list(columns) if columns else None).to_pandas()


@contextlib.contextmanager
def atomic_path(path: str | Path) -> Iterator[Path]:
    """A temporary path beside `path` that takes its place when the block ends without an error."""
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, target)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def write_frame(path: str | Path, frame: "pandas.DataFrame") -> None:
    """Write a frame of numbers (columns: its module's) as parquet, atomically."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False)


def write_text(path: str | Path, text: str) -> None:
    """Write a text file atomically."""
    with atomic_path(path) as temporary:
        temporary.write_text(text, encoding="utf-8")


def slice_hash(slice_: Mapping[str, Any]) -> str:
    """SHA-256 (hex) of a resolved config slice, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(slice_, sort_keys=True, default=str).encode()).hexdigest()
