"""The same image in two datasets: a validation set that shares images with the noisy one proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.images import image_hash
from fvm_core.errors import DataError

CHUNK = 1024


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
    train: LabeledImages, validation: LabeledImages, progress: Callable[[int, int], None] | None = None
) -> Overlap:
    """Compare the encoded bytes (or raw arrays) of every image, holding 16 bytes a validation image and no image.

    Equal bytes only: a picture that was saved anew is not found. `progress` gets (done, total) every 1,024 images.
    """
    total = len(train) + len(validation)
    known: dict[bytes, int] = {}
    unreadable = 0
    for done, (index, digest) in enumerate(_hashes(validation), start=1):
        unreadable += digest is None
        if digest is not None:
            known.setdefault(digest, index)
        _report(progress, done, total)
    found: list[tuple[int, int]] = []
    for done, (index, digest) in enumerate(_hashes(train), start=len(validation) + 1):
        unreadable += digest is None
        if digest in known:
            found.append((index, known[digest]))
        _report(progress, done, total)
    found.sort()
    pairs = tuple((str(train.ids[first]), str(validation.ids[second])) for first, second in found)
    indices = np.array(found, dtype=np.int64).reshape(-1, 2)
    return Overlap(pairs, indices[:, 0], indices[:, 1], unreadable)


def _hashes(dataset: LabeledImages):  # type: ignore[no-untyped-def]
    """Yield (index, hash or None) in the order of the source's rows, the order that is cheap to read."""
    for index in np.argsort(dataset.rows, kind="stable").tolist():
        try:
            yield index, image_hash(dataset.read(index))
        except DataError:
            yield index, None


def _report(progress: Callable[[int, int], None] | None, done: int, total: int) -> None:
    if progress and (done % CHUNK == 0 or done == total):
        progress(done, total)
