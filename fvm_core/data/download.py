"""The images of CIFAR from the network: torchvision's address and checksum, with progress and a way to go on.

Own code, because torchvision's download can neither report nor stop, and brings torch into a job that only fetches.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import shutil
import tarfile
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import IO

from fvm_core.data.cifar import KINDS, has_batches
from fvm_core.errors import DataError, StorageError

PIECE = 1 << 16
TIMEOUT = 60.0

Progress = Callable[[int, int], None]


@dataclass(frozen=True)
class Archive:
    """One file on the network."""

    url: str
    filename: str
    md5: str


ARCHIVES = {
    "cifar10n": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-10-python.tar.gz",
        "cifar-10-python.tar.gz",
        "c58f30108f718f92721af3b95e74349a",
    ),
    "cifar100n": Archive(
        "https://www.cs.toronto.edu/~kriz/cifar-100-python.tar.gz",
        "cifar-100-python.tar.gz",
        "eb9058c3a382ffc7106e4002c42a8d85",
    ),
}
"""The same as torchvision's; a test compares them."""


def fetch_images(name: str, folder: Path, *, keep: Path, progress: Progress | None = None) -> None:
    """Put the images of `cifar10n` or `cifar100n` into `folder` as torchvision lays them out, unless they are there.

    The archive comes to the folder `keep` (one that lies whole in `folder` is used instead) and is removed in the end;
    what a cut call left there is continued. `progress` gets (bytes so far, bytes in all or 0) and may raise to stop.

    Raises:
        DataError: the machine is offline, the server refuses, or the bytes are not those that torchvision knows.
        StorageError: the disk refused.
    """
    if has_batches(name, folder):
        return
    archive = ARCHIVES[name]
    own, path = folder / archive.filename, keep / archive.filename
    if _whole(own, archive):
        _unpack(own, folder, name)
        return
    if not _whole(path, archive):
        _receive(archive, path, folder, progress)
    if not _whole(path, archive):
        path.unlink(missing_ok=True)
        raise _failed(archive, folder, "its checksum is wrong: the bytes were changed on the way")
    _unpack(path, folder, name)
    path.unlink(missing_ok=True)


def _whole(path: Path, archive: Archive) -> bool:
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return hashlib.file_digest(file, lambda: hashlib.md5(usedforsecurity=False)).hexdigest() == archive.md5


def _receive(archive: Archive, path: Path, folder: Path, progress: Progress | None) -> None:
    done = path.stat().st_size if path.exists() else 0
    headers = {"User-Agent": "fvm-studio", **({"Range": f"bytes={done}-"} if done else {})}
    try:
        request = urllib.request.Request(archive.url, headers=headers)
        with urllib.request.urlopen(request, timeout=TIMEOUT) as response:
            done = done if response.status == http.HTTPStatus.PARTIAL_CONTENT else 0
            total = done + response.length if response.length else 0
            with _opened(path, "ab" if done else "wb") as file:
                while piece := response.read(PIECE):
                    _write(file, piece)
                    done += len(piece)
                    if progress:
                        progress(done, total)
    except (OSError, http.client.HTTPException) as error:
        if isinstance(error, urllib.error.HTTPError) and error.code == 416 and done:  # longer than the archive
            path.unlink()
            return _receive(archive, path, folder, progress)
        raise _failed(archive, folder, _reason(error)) from error
    if done < total:
        raise _failed(archive, folder, f"the connection ended after {done:,} of {total:,} bytes")
    return None


def _reason(error: Exception) -> str:
    if isinstance(error, urllib.error.URLError) and not isinstance(error, urllib.error.HTTPError):
        return str(error.reason)
    return str(error)


def _opened(path: Path, mode: str) -> IO[bytes]:
    try:
        return path.open(mode)
    except OSError as error:
        raise _refused(path, error) from error


def _write(file: IO[bytes], piece: bytes) -> None:
    try:
        file.write(piece)
    except OSError as error:
        raise _refused(Path(file.name), error) from error


def _unpack(path: Path, folder: Path, name: str) -> None:
    """Unpack the files we read beside their place, then move them in, the one that makes the folder complete last."""
    kind = KINDS[name]
    wanted, target = (*kind.train, *kind.test, kind.meta), folder / kind.folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as hidden:
            with tarfile.open(path, "r:gz") as archive:
                for entry in archive:
                    file = PurePosixPath(entry.name).name
                    content = archive.extractfile(entry) if file in wanted else None
                    if content is not None:
                        with (Path(hidden) / file).open("wb") as out:
                            shutil.copyfileobj(content, out)
            for file in wanted:
                os.replace(Path(hidden) / file, target / file)
    except OSError as error:
        raise _refused(folder, error) from error


def _failed(archive: Archive, folder: Path, reason: str) -> DataError:
    return DataError(
        f"{archive.filename} could not be downloaded from {archive.url} ({reason}). Go online, or unpack that file "
        f"into `{folder}` by hand."
    )


def _refused(path: Path, error: OSError) -> StorageError:
    return StorageError(
        f"`{path}` could not be written ({error.strerror or error}). Free disk space or choose another folder."
    )
