"""The same image in two datasets: a validation set that shares images with the noisy one proves nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.images import image_hash
from fvm_core.errors import DataError, StorageError

CHUNK = 1024
DIGEST = 16
UNREADABLE = bytes(DIGEST)


@dataclass(frozen=True)
class Overlap:
    """`pairs`: (training id, id of the first validation sample with the same image bytes), in training order.

    `train` (o,) and `validation` (o,) int64 are the indices of the same pairs. `unreadable` counts images that could
    not be read and were not compared.
    """

    pairs: tuple[tuple[str, str], ...]
    train: NDArray[np.int64]
    validation: NDArray[np.int64]
    unreadable: int = 0

    def __len__(self) -> int:
        return len(self.pairs)


def overlap(
    train: LabeledImages,
    validation: LabeledImages,
    progress: Callable[[int, int], None] | None = None,
    *,
    folder: Path | None = None,
) -> Overlap:
    """Compare the encoded bytes (or raw arrays) of every image, holding 16 bytes an image and no image.

    Equal bytes only: a picture that was saved anew is not found. `progress` gets (done, total) every 1,024 images. With
    a `folder` the digests are kept there until the end, and a call that was cut goes on where it was.

    Raises:
        StorageError: the disk refused the digests.
    """
    total = len(train) + len(validation)

    def report(done: int) -> None:
        if progress:
            progress(done, total)

    held_out = _digests(validation, report, folder and folder / "validation.digests")
    noisy = _digests(train, lambda done: report(len(validation) + done), folder and folder / "train.digests")
    known: dict[bytes, int] = {}
    unreadable = 0
    for index, digest in _by_index(validation, held_out):
        unreadable += digest == UNREADABLE
        known[digest] = min(index, known.get(digest, index))
    known.pop(UNREADABLE, None)
    found: list[tuple[int, int]] = []
    for index, digest in _by_index(train, noisy):
        unreadable += digest == UNREADABLE
        if digest in known:
            found.append((index, known[digest]))
    found.sort()
    pairs = tuple((str(train.ids[first]), str(validation.ids[second])) for first, second in found)
    indices = np.array(found, dtype=np.int64).reshape(-1, 2)
    for name in ("validation", "train"):
        if folder:
            (folder / f"{name}.digests").unlink(missing_ok=True)
    return Overlap(pairs, indices[:, 0], indices[:, 1], unreadable)


def _digests(dataset: LabeledImages, report: Callable[[int], None], file: Path | None) -> bytes:
    """Return the digests of all samples, one after the other, in the order of `_order`; UNREADABLE for none."""
    order = _order(dataset)
    parts = [_kept(file)]
    done = len(parts[0]) // DIGEST
    while done < len(order):
        chunk = order[done : done + CHUNK].tolist()
        parts.append(b"".join(_digest(dataset, index) for index in chunk))
        _keep(file, parts[-1])
        done += len(chunk)
        report(done)
    return b"".join(parts)


def _order(dataset: LabeledImages) -> NDArray[np.int64]:
    """Return the samples in the order of the source's rows, which is the cheap one to read."""
    return np.argsort(dataset.rows, kind="stable")


def _by_index(dataset: LabeledImages, digests: bytes) -> Iterator[tuple[int, bytes]]:
    for place, index in enumerate(_order(dataset)):
        yield int(index), digests[place * DIGEST : (place + 1) * DIGEST]


def _digest(dataset: LabeledImages, index: int) -> bytes:
    try:
        return image_hash(dataset.read(index))
    except DataError:
        return UNREADABLE


def _kept(file: Path | None) -> bytes:
    """Return the whole digests of an earlier call; half a one at the end is cut off."""
    if file is None or not file.exists():
        return b""
    try:
        with file.open("r+b") as kept:
            data = kept.read()
            whole = len(data) // DIGEST * DIGEST
            kept.truncate(whole)
        return data[:whole]
    except OSError as error:
        raise _refused(file, error) from error


def _keep(file: Path | None, data: bytes) -> None:
    if file is None:
        return
    try:
        with file.open("ab") as kept:
            kept.write(data)
    except OSError as error:
        raise _refused(file, error) from error


def _refused(file: Path, error: OSError) -> StorageError:
    return StorageError(f"`{file}` could not be written ({error.strerror or error}). Free disk space, then resume.")
