"""What a file holds, in one short string: for provenance and for the names of pixel caches."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path

from fvm_core.errors import DataError
from fvm_core.files import file_sha256

WHOLE_BYTES = 512 * 2**20
PIECES = 64
PIECE_BYTES = 64 * 2**10


def file_identity(path: Path | str) -> str:
    """Return a string that is the same for a copy of the file elsewhere and changes when its content does.

    Up to WHOLE_BYTES it is the SHA-256 of all bytes. Larger files: size and 64 pieces of 64 KiB spread over the file,
    its ends among them; a change between the pieces that keeps the size goes unseen (see `file_stamp`).

    Raises:
        DataError: the file is missing or cannot be read.
    """
    return _identities(path)[0]


def file_stamp(path: Path | str) -> str:
    """Return `file_identity`, for larger files with the modification time: what caches of the content must follow.

    Raises:
        DataError: the file is missing or cannot be read.
    """
    return _identities(path)[1]


def _identities(path: Path | str) -> tuple[str, str]:
    try:
        state = Path(path).stat()
        return _hashes(str(path), state.st_size, state.st_mtime_ns)
    except OSError as error:
        raise DataError(f"`{path}` cannot be read ({error.strerror or error}). Check that the file exists.") from error


@lru_cache(maxsize=256)
def _hashes(path: str, size: int, mtime: int) -> tuple[str, str]:
    if size <= WHOLE_BYTES:
        whole = f"sha256:{file_sha256(path)}"
        return whole, whole
    digest, dated = hashlib.sha256(f"{size}".encode()), hashlib.sha256(f"{size} {mtime}".encode())
    with open(path, "rb") as file:
        for piece in range(PIECES):
            file.seek((size - PIECE_BYTES) * piece // (PIECES - 1))
            data = file.read(PIECE_BYTES)
            digest.update(data)
            dated.update(data)
    return f"pieces:{digest.hexdigest()}", f"pieces:{dated.hexdigest()}"
