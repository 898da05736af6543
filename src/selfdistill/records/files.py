"""Atomic writing of result files, and reading with a check of their schema."""

import contextlib
import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from selfdistill.records.schemas import SCHEMA_VERSION, SchemaError, check_columns

if TYPE_CHECKING:
    import numpy as np
    import pandas as pd
    import pyarrow.parquet

BY_PAGES = {"buffer_size": 2**20, "pre_buffer": False}
"""Arguments of pyarrow for reading a column page by page; else it is read whole from a file that is one row group."""
ROWS_AT_ONCE = 256
"""Rows with long texts in memory at a time."""


class Damaged(RuntimeError):
    """A file or folder cannot be read, or differs from what was written; the message names it."""


def write_table(
    path: str | Path, table: "pd.DataFrame", schema: "pyarrow.Schema", durable: bool = True
) -> None:
    """Write `table` as parquet with exactly `schema`, atomically (`atomic_path`).

    Raise SchemaError if it has other columns or types.
    """
    import pyarrow as pa
    import pyarrow.parquet

    check_columns(path, list(table.columns), schema)
    try:
        converted = pa.Table.from_pandas(table[schema.names], schema=schema, preserve_index=False)
    except (pa.ArrowInvalid, pa.ArrowTypeError) as error:
        raise SchemaError(f"{path}: {' '.join(str(part) for part in error.args)}") from error
    converted = converted.replace_schema_metadata({"schema_version": str(SCHEMA_VERSION)})
    with atomic_path(path, durable) as temporary:
        pyarrow.parquet.write_table(converted, temporary, write_page_checksum=True)


def read_table(
    path: str | Path, schema: "pyarrow.Schema", columns: Sequence[str] | None = None
) -> "pd.DataFrame":
    """Return the table at `path`, or some of its `columns`.

    Raise SchemaError if the file does not have `schema`, Damaged if it cannot be read.
    """
    import pyarrow.parquet

    with naming(path):
        names = pyarrow.parquet.read_schema(path).names
    check_columns(path, names, schema)
    return read_frame(path, columns)


def read_table_rows(
    path: str | Path, schema: "pyarrow.Schema", chosen: "np.ndarray", columns: Sequence[str]
) -> "pd.DataFrame":
    """Return the chosen rows of the table at `path`, with few of the others in memory; chosen: bool, one per row.

    For columns of long texts. Raise SchemaError and Damaged as `read_table`.
    """
    import pyarrow as pa

    file = _opened(path, schema)
    with naming(path):
        found = list(_chosen_batches(file, chosen, columns))
        kept = pa.schema([schema.field(name) for name in columns])
        return pa.Table.from_batches(found, kept).to_pandas()


def read_table_batches(
    path: str | Path, schema: "pyarrow.Schema", columns: Sequence[str]
) -> "Iterator[pd.DataFrame]":
    """Yield some columns of the table at `path`, ROWS_AT_ONCE rows at a time. Raise SchemaError and Damaged as `read_table`."""
    file = _opened(path, schema)
    with naming(path):
        for batch in whole_batches(file, file.metadata.num_rows, ROWS_AT_ONCE, columns=list(columns)):
            yield batch.to_pandas()


def _opened(path: str | Path, schema: "pyarrow.Schema") -> "pyarrow.parquet.ParquetFile":
    """Return the file at `path`, of which few pages are read at once; its columns are checked."""
    import pyarrow.parquet

    with naming(path):
        file = pyarrow.parquet.ParquetFile(path, page_checksum_verification=True, **BY_PAGES)
    check_columns(path, file.schema_arrow.names, schema)
    return file


def _chosen_batches(
    file: "pyarrow.parquet.ParquetFile", chosen: "np.ndarray", columns: Sequence[str]
) -> "Iterator[pyarrow.RecordBatch]":
    """Yield the chosen rows batch by batch; row groups without one are not read."""
    import pyarrow as pa

    sizes = [file.metadata.row_group(group).num_rows for group in range(file.num_row_groups)]
    start = 0
    for group, size in enumerate(sizes):
        place, start = start, start + size
        if not chosen[place:start].any():
            continue
        for batch in whole_batches(file, size, ROWS_AT_ONCE, row_groups=[group], columns=list(columns)):
            mask = chosen[place : place + len(batch)]
            place += len(batch)
            if mask.any():
                yield batch.select(list(columns)).filter(pa.array(mask)).replace_schema_metadata(None)


def whole_batches(
    file: "pyarrow.parquet.ParquetFile", rows: int, at_once: int, **chosen: Any
) -> "Iterator[pyarrow.RecordBatch]":
    """Yield the batches of a file or of the row groups that are `chosen`. Raise OSError if they are not `rows` rows in all.

    A damaged page can end the batches without an error.
    """
    for batch in file.iter_batches(at_once, **chosen):
        rows -= len(batch)
        yield batch
    if rows:
        raise OSError(f"the last {rows} rows are missing")


def read_frame(path: str | Path, columns: Sequence[str] | None = None) -> "pd.DataFrame":
    """Return the parquet table at `path`, or some of its `columns`, with any schema. Raise Damaged if it cannot be read."""
    return read_arrow(path, columns).to_pandas()


def read_arrow(path: str | Path, columns: Sequence[str] | None = None) -> "pyarrow.Table":
    """Return the same as `read_frame` as an Arrow table, which keeps the types of columns without values."""
    import pyarrow.parquet

    with naming(path):
        asked = list(columns) if columns else None
        return pyarrow.parquet.read_table(path, columns=asked, page_checksum_verification=True)


def read_json(path: str | Path) -> Any:
    """Return the contents of a JSON file. Raise Damaged if it cannot be read."""
    with naming(path):
        return json.loads(Path(path).read_text(encoding="utf-8"))


@contextlib.contextmanager
def naming(path: str | Path) -> Iterator[None]:
    """Turn the errors of reading a truncated or damaged file into Damaged, which names `path`.

    A missing or unreadable file keeps its OSError, which names it already.
    """
    try:
        yield
    except (FileNotFoundError, PermissionError):
        raise
    except (ValueError, OSError) as error:  # pyarrow's errors are subclasses of these
        raise Damaged(f"{path}: truncated or damaged ({error})") from error


@contextlib.contextmanager
def atomic_path(path: str | Path, durable: bool = True) -> Iterator[Path]:
    """Yield a temporary path beside `path`; it replaces `path` if the block ends without an error.

    It is flushed to the disk first, so that a power cut leaves the old file or the new one. durable: False for files that
    are written at every step and checked when they are read (record parts, progress), so that a step does not wait for
    the disk.
    """
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    temporary = target.with_name(f".{target.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        if durable:
            sync_all(temporary)
        os.replace(temporary, target)
        if durable:
            sync(target.parent)
    finally:
        if temporary.is_dir():
            shutil.rmtree(temporary)
        temporary.unlink(missing_ok=True)


def sync_all(path: Path) -> None:
    """Flush a file, or a folder and everything below it, to the disk."""
    for root, _, names in os.walk(path):
        for name in names:
            sync(Path(root, name))
        sync(Path(root))
    if path.is_file():
        sync(path)


def sync(path: Path) -> None:
    """Flush a file, or the entries of a folder, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if not (path.is_dir() and error.errno in (errno.EINVAL, errno.ENOTSUP)):
            raise  # some network file systems cannot flush a folder: only that is ignored
    finally:
        os.close(descriptor)


def link_or_copy(source: str | Path, target: str | Path) -> None:
    """Make `target` a hard link to `source`, or a copy if it cannot be linked (another file system)."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copy2(source, target)


def write_frame(path: str | Path, frame: "pd.DataFrame") -> None:
    """Write a frame without a declared schema as parquet, atomically."""
    with atomic_path(path) as temporary:
        frame.to_parquet(temporary, index=False, write_page_checksum=True)


def write_text(path: str | Path, text: str, durable: bool = True) -> None:
    """Write a text file atomically (`atomic_path`)."""
    with atomic_path(path, durable) as temporary:
        temporary.write_text(text, encoding="utf-8")


def slice_hash(slice_: Mapping[str, Any]) -> str:
    """Return the SHA-256 (hex) of a resolved config slice, independent of the order of its keys."""
    return hashlib.sha256(json.dumps(slice_, sort_keys=True, default=str).encode()).hexdigest()
