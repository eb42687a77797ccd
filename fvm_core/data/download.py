"""The images of CIFAR from the network: torchvision's address and checksum, with progress and a way to go on."""

from __future__ import annotations

import http.client
import os
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
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


def archive_of(name: str) -> Archive:
    """Return the archive of `cifar10n` or `cifar100n` as torchvision knows it. Imports torchvision, and so torch."""
    from torchvision.datasets import CIFAR10, CIFAR100

    chosen = CIFAR10 if name == "cifar10n" else CIFAR100
    return Archive(chosen.url, chosen.filename, chosen.tgz_md5)


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
    from torchvision.datasets.utils import check_integrity

    archive = archive_of(name)
    own, path = folder / archive.filename, keep / archive.filename
    if check_integrity(str(own), archive.md5):
        _unpack(own, folder, name)
        return
    if not check_integrity(str(path), archive.md5):
        _receive(archive, path, folder, progress)
    if not check_integrity(str(path), archive.md5):
        path.unlink(missing_ok=True)
        raise _failed(archive, folder, "its checksum is wrong: the bytes were changed on the way")
    _unpack(path, folder, name)
    path.unlink(missing_ok=True)


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
        raise _failed(archive, folder, str(error)) from error
    if done < total:
        raise _failed(archive, folder, f"the connection ended after {done:,} of {total:,} bytes")
    return None


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
    """Unpack beside the place and move the files in, the one that makes the folder count as complete last."""
    from torchvision.datasets.utils import extract_archive

    kind = KINDS[name]
    target = folder / kind.folder
    try:
        target.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".unpacking-") as hidden:
            extract_archive(str(path), hidden)
            files = (Path(hidden) / kind.folder).iterdir()
            for file in sorted(files, key=lambda file: file.name == kind.meta):
                os.replace(file, target / file.name)
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
