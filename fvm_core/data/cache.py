"""Decoded pixels on disk, mapped into memory: each image is decoded once, however often it is read."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.images import decode_image
from fvm_core.errors import DataError, StorageError

MISSING, READY, UNREADABLE = 0, 1, 2
CHUNK = 1024
VERSION = 1


class PixelCache:
    """(n, size, size, channels) uint8 pixels of a dataset, filled on demand. Processes may share it.

    The files lie in `folder`/KEY: `pixels.bin`, `status.bin` (a byte for each sample), `set_aside.jsonl`. KEY names
    the images and their order, not the labels, so every label column of the same images shares one cache. Pixels are
    written before their status byte, by writes that report a full disk (a write through a memory map would kill the
    process), so a crash leaves "missing", never garbage.

    Raises:
        DataError: `size` or `channels` out of range.
        StorageError: the folder cannot be written.
    """

    def __init__(self, dataset: LabeledImages, *, size: int, channels: int, folder: Path | str) -> None:
        if channels not in (1, 3):
            raise DataError(f"`channels` must be 1 or 3, got {channels}. Choose grey (1) or colour (3).")
        if not 1 <= size <= 4096:
            raise DataError(f"`size` must be between 1 and 4096 pixels, got {size}. Choose another image size.")
        self.dataset, self.size, self.channels = dataset, size, channels
        self._row_bytes = size * size * channels
        self.path = Path(folder) / self._key()
        with _storage(self.path):
            self.path.mkdir(parents=True, exist_ok=True)
            self._create()
            shape = (len(dataset), size, size, channels)
            self._pixels = np.memmap(self.path / "pixels.bin", np.uint8, "r", shape=shape)
            self._status = np.memmap(self.path / "status.bin", np.uint8, "r", shape=(len(dataset),))
        self._reasons: dict[int, str] = {}
        self._reasons_read = 0

    def read(self, indices: NDArray[np.int64] | Sequence[int]) -> NDArray[np.uint8]:
        """Return (b, size, size, channels) uint8 pixels in the order of `indices`, decoding what is missing.

        Raises:
            DataError: an image among them is unreadable (see `set_aside`); the message names it.
            StorageError: the disk is full.
        """
        wanted = np.asarray(indices, dtype=np.int64)
        status = self._status[wanted]
        if (status != READY).any():
            missing = np.unique(wanted[status == MISSING])
            for start in range(0, len(missing), CHUNK):
                self._decode(missing[start : start + CHUNK])
            bad = wanted[self._status[wanted] == UNREADABLE]
            if len(bad):
                name = str(self.dataset.ids[bad[0]])
                reason = self.set_aside.get(int(bad[0]), "unknown reason.")
                raise DataError(f"image {name!r} is unreadable: {reason} Leave out the images that were set aside.")
        return self._pixels[wanted]

    def fill(
        self, progress: Callable[[int, int], None] | None = None, *, retry: bool = False, begin: float = 0.0
    ) -> None:
        """Decode every image that is missing (with `retry` also those set aside before), reporting (done, n).

        `begin` (0 to 1) is where among them to begin: processes that begin at different places share the work, for
        each leaves out what others have done by then. In the end all are there, whatever became of the others.

        Raises:
            DataError: no image at all is readable.
            StorageError: the disk is or becomes full; what was decoded stays.
        """
        n = len(self.dataset)
        if retry:
            with _storage(self.path):
                self._write_status(np.flatnonzero(self._status == UNREADABLE), MISSING)
        missing = np.flatnonzero(self._status == MISSING)
        needed = len(missing) * self._row_bytes
        free = shutil.disk_usage(self.path).free
        if needed > free:
            raise StorageError(
                f"decoded pixels need {needed / 2**30:.1f} GiB in `{self.path}`, but {free / 2**30:.1f} GiB are free. "
                "Free disk space, choose a smaller image size or another workspace folder."
            )
        done = n - len(missing)
        if progress:
            progress(done, n)
        missing = missing[np.argsort(self.dataset.rows[missing], kind="stable")]
        missing = np.roll(missing, -int(begin * len(missing)))
        with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
            for start in range(0, len(missing), CHUNK):
                chunk = missing[start : start + CHUNK]
                done += len(chunk)
                chunk = chunk[self._status[chunk] == MISSING]
                if len(chunk):
                    self._decode(chunk, pool)
                if progress:
                    progress(done, n)
        if n and not len(self.usable()):
            raise DataError(f"dataset must have a readable image, but all {n:,} were set aside: {self.set_aside[0]}")

    @property
    def set_aside(self) -> dict[int, str]:
        """Index -> reason for every image found unreadable so far, by any process."""
        path = self.path / "set_aside.jsonl"
        if path.exists() and path.stat().st_size != self._reasons_read:
            data = path.read_bytes()
            for line in data.decode("utf-8", "replace").splitlines():
                try:
                    index, reason = json.loads(line)
                except ValueError:  # the last line of a process that was killed while writing
                    continue
                self._reasons[int(index)] = str(reason)
            self._reasons_read = len(data)
        return {int(i): self._reasons.get(int(i), "unreadable") for i in np.flatnonzero(self._status == UNREADABLE)}

    def usable(self) -> NDArray[np.int64]:
        """Return the indices that are not set aside, ascending; meaningful after `fill`."""
        return np.flatnonzero(self._status != UNREADABLE).astype(np.int64)

    def _key(self) -> str:
        source = self.dataset.source
        stamp = source.stamp() if hasattr(source, "stamp") else source.identity()
        digest = hashlib.sha256(stamp.encode())
        digest.update(np.ascontiguousarray(self.dataset.rows).tobytes())
        return f"{digest.hexdigest()[:32]}-{self.size}x{self.channels}-v{VERSION}"

    def _create(self) -> None:
        """Make both files in their full (sparse) size; pixels of a wrong size void every status."""
        n = len(self.dataset)
        with open(self.path / "lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with open(self.path / "pixels.bin", "ab") as pixels, open(self.path / "status.bin", "ab") as status:
                if pixels.tell() != n * self._row_bytes:
                    status.truncate(0)
                    pixels.truncate(n * self._row_bytes)
                if os.fstat(status.fileno()).st_size != n:
                    status.truncate(0)
                    status.truncate(n)

    def _decode(self, indices: NDArray[np.int64], pool: ThreadPoolExecutor | None = None) -> None:
        results = list((pool.map if pool else map)(self._try, indices.tolist()))
        good = [
            (index, item) for index, item in zip(indices.tolist(), results, strict=True) if not isinstance(item, str)
        ]
        bad = [(index, item) for index, item in zip(indices.tolist(), results, strict=True) if isinstance(item, str)]
        with _storage(self.path):
            if good:
                with open(self.path / "pixels.bin", "r+b", buffering=0) as file:
                    for first, block in _runs(good):
                        _write_all(file.fileno(), block, first * self._row_bytes)
                    os.fdatasync(file.fileno())
                self._write_status(np.array([index for index, _ in good]), READY)
            if bad:
                lines = "".join(json.dumps([index, reason]) + "\n" for index, reason in bad)
                with open(self.path / "set_aside.jsonl", "ab", buffering=0) as file:
                    file.write(lines.encode())
                self._write_status(np.array([index for index, _ in bad]), UNREADABLE)

    def _try(self, index: int) -> NDArray[np.uint8] | str:
        try:
            return decode_image(self.dataset.read(index), channels=self.channels, size=self.size)
        except DataError as error:
            return str(error)

    def _write_status(self, indices: NDArray[np.int64], value: int) -> None:
        with open(self.path / "status.bin", "r+b", buffering=0) as file:
            for first, block in _runs([(int(index), np.uint8(value)) for index in np.sort(indices)]):
                _write_all(file.fileno(), block, first)


def _runs(items: Sequence[tuple[int, NDArray[np.uint8] | np.uint8]]) -> Iterator[tuple[int, bytes]]:
    """Join neighbours, so that a chunk in order is one write."""
    ordered = sorted(items, key=lambda item: item[0])
    start = 0
    for stop in range(1, len(ordered) + 1):
        if stop == len(ordered) or ordered[stop][0] != ordered[stop - 1][0] + 1:
            yield ordered[start][0], np.stack([value for _, value in ordered[start:stop]]).tobytes()
            start = stop


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


@contextmanager
def _storage(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"decoded pixels in `{path}` could not be written ({error.strerror or error}); what is there stays valid. "
            "Free disk space or choose another workspace folder, then try again."
        ) from error
