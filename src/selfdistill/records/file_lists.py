"""The list of a folder's files with their sizes and hashes (`files.json`), written last.

A folder with a list is complete; a file that differs from its entry is named and never used silently. Files are hashed
in full, several at a time: SHA-256 reads about 1 GB/s per core, as fast as most disks.
"""

import hashlib
import json
import os
from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from selfdistill.records.files import Damaged, read_json, sync, write_text

FILE_LIST = "files.json"


def write_file_list(folder: Path, files: Iterable[Path] | None = None) -> None:
    """Flush `files` (default: `files_below`) to the disk, then write their list."""
    chosen = sorted(files_below(folder) if files is None else files)
    for path in {*chosen, *(file.parent for file in chosen), folder}:
        sync(path)
    names = [os.path.relpath(file, folder) for file in chosen]
    sizes = [file.stat().st_size for file in chosen]
    rows = zip(names, sizes, hashes(chosen), strict=True)
    listed = {name: {"size": size, "sha256": digest} for name, size, digest in rows}
    write_text(folder / FILE_LIST, json.dumps(listed, indent=1) + "\n")


def files_below(folder: Path) -> list[Path]:
    """Return the files below `folder` except hidden files and the list itself."""
    found = (Path(root) / name for root, _, names in os.walk(folder) for name in names)
    return [file for file in found if file != folder / FILE_LIST and not file.name.startswith(".")]


def read_file_list(folder: Path) -> dict[str, dict[str, int | str]]:
    """Return size and sha256 of every listed file, by its path relative to `folder`. Raise Damaged if there is no list."""
    if not (folder / FILE_LIST).exists():
        raise Damaged(f"{folder}: {FILE_LIST} is missing: the folder is incomplete")
    return read_json(folder / FILE_LIST)


def check_files(folder: Path, contents: bool = True) -> None:
    """Raise Damaged for the first file that differs from the list of `folder`; contents: check hashes, not only sizes."""
    listed = read_file_list(folder)
    paths = [folder / name for name in listed]
    for path, entry in zip(paths, listed.values(), strict=True):
        if not path.exists():
            raise Damaged(f"{path}: missing")
        check_size(path, entry["size"])
    if contents:
        for path, entry, digest in zip(paths, listed.values(), hashes(paths), strict=True):
            if digest != entry["sha256"]:
                raise Damaged(f"{path}: contents differ from those that were written")


def check_size(path: Path, size: int) -> None:
    """Raise Damaged if a file does not have `size` bytes."""
    if path.stat().st_size != size:
        raise Damaged(f"{path}: has {path.stat().st_size} bytes, must have {size}")


def hashes(files: Iterable[Path]) -> list[str]:
    """Return the SHA-256 (hex) of every file."""
    with ThreadPoolExecutor() as pool:
        return list(pool.map(file_hash, files))


def file_hash(file: Path) -> str:
    """Return the SHA-256 (hex) of a file."""
    with file.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def content_hash(path: Path) -> str:
    """Return a SHA-256 (hex) of the contents of a file or folder; of a folder with a list, of the list."""
    if path.is_file():
        return file_hash(path)
    if (path / FILE_LIST).exists():
        return file_hash(path / FILE_LIST)
    files = sorted(files_below(path))
    rows = [
        f"{os.path.relpath(file, path)} {digest}" for file, digest in zip(files, hashes(files), strict=True)
    ]
    return hashlib.sha256("\n".join(rows).encode()).hexdigest()
