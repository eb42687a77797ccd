"""Whole files or none: writes go to a temporary name in the same folder and replace atomically."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

from fvm_core.errors import DataError, StorageError


@contextmanager
def atomic_write(path: Path | str, mode: str = "wb", **options: Any) -> Iterator[IO[Any]]:
    """Open a temporary file beside `path`; on a clean exit fsync and rename it onto `path`.

    On any exception the temporary file is removed and `path` keeps its earlier content.

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    path = Path(path)
    temporary = ""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".tmp")
        with os.fdopen(handle, mode, **options) as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    except OSError as error:
        _discard(temporary)
        raise StorageError(
            f"`{path}` could not be written ({error.strerror or error}); the earlier file, if any, is untouched. "
            "Free disk space or choose another workspace folder, then try again."
        ) from error
    except BaseException:
        _discard(temporary)
        raise


def _discard(temporary: str) -> None:
    if temporary and os.path.exists(temporary):
        os.unlink(temporary)


def sweep(folder: Path) -> None:
    """Remove the temporary files that killed writers left below `folder`. For its only writer: a write that another one
    is at would be lost."""
    for path in folder.rglob(".*.tmp"):
        path.unlink(missing_ok=True)


def move_file(source: Path, target: Path) -> None:
    """Move a finished file onto `target`, whole or not at all, also to another disk (then it is copied).

    Raises:
        StorageError: the folder cannot be written or the disk is full.
    """
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(source, target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise StorageError(
                f"`{target}` could not be written ({error.strerror or error}); the earlier file, if any, is untouched. "
                "Free disk space or choose another workspace folder, then try again."
            ) from error
        with source.open("rb") as read, atomic_write(target) as write:
            shutil.copyfileobj(read, write)
        source.unlink(missing_ok=True)


def write_json(path: Path | str, value: Any) -> None:
    """Write `value` as JSON, atomically."""
    with atomic_write(path, "w", encoding="utf-8") as file:
        json.dump(value, file, indent=2, sort_keys=True)
        file.write("\n")


def read_json(path: Path | str, *, what: str) -> Any:
    """Read a JSON file of ours; `what` names it in the error.

    Raises:
        DataError: missing or not JSON.
    """
    try:
        return json.loads(Path(path).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{what} `{path}` cannot be read ({error}). Restore it or make it anew.") from error


def file_sha256(path: Path | str) -> str:
    """Return the hexadecimal SHA-256 of a file's bytes, read in pieces of 1 MiB."""
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
    return digest.hexdigest()


def slug(name: str) -> str:
    """Turn a person's words into a file name of ours: `a-z0-9`, `-` and `_` only, at most 64 characters.

    >>> slug("../../My model (v2).pt")
    'my-model-v2-pt'
    """
    text = re.sub(r"[^a-z0-9_]+", "-", name.lower()).strip("-")[:64]
    if not text:
        raise DataError(f"`name` must hold at least one letter or digit, got {name!r}. Type another name.")
    return text
