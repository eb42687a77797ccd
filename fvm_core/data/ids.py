"""Stable names of samples: a path, a given column, or file and row."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvm_core.errors import DataError

MAX_ID_MEMORY = 512 * 2**20
PIECE = 65_536


def row_ids(stem: str, n: int) -> NDArray[np.str_]:
    """Return (n,) ids made of a file's name and the row.

    >>> row_ids("train", 2).tolist()
    ['train-00000', 'train-00001']
    """
    digits = max(5, len(str(max(n - 1, 0))))
    ids = np.empty(n, dtype=f"U{len(stem) + 1 + digits}")
    for start in range(0, n, PIECE):
        ids[start : start + PIECE] = [f"{stem}-{row:0{digits}d}" for row in range(start, min(start + PIECE, n))]
    return ids


def path_ids(names: pa.Array) -> tuple[NDArray[np.str_], tuple[str, ...]]:
    """Return ids made of the paths; where fixed-width text would take over 512 MiB, 16 letters of their hash.

    The second part is a note that says so, or nothing.
    """
    longest = pc.max(pc.utf8_length(names)).as_py() or 1  # one hostile id would set the width of all
    if len(names) * longest * 4 <= MAX_ID_MEMORY:
        return np.fromiter(each(names), dtype=f"U{longest}", count=len(names)), ()
    hashes = (hashlib.blake2b(name.encode(), digest_size=8).hexdigest() for name in each(names))
    note = "Paths or ids are long: each id is 16 letters of the BLAKE2b hash of it."
    return np.fromiter(hashes, dtype="U16", count=len(names)), (note,)


def each(values: pa.Array) -> Iterator[str]:
    """Yield the strings in pieces, so that no list of all of them exists."""
    for start in range(0, len(values), PIECE):
        yield from values.slice(start, PIECE).to_pylist()


def check_unique(ids: NDArray[np.str_]) -> None:
    """Raise DataError when two samples have the same id, naming the first two rows."""
    if bool((ids[1:] > ids[:-1]).all()):
        return
    order = np.argsort(ids, kind="stable")
    ordered = ids[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        first, second = sorted(int(row) for row in order[twice[0] : twice[0] + 2])
        raise DataError(
            f"ids must be unique, got {str(ordered[twice[0]])!r} in rows {first} and {second} "
            f"({len(twice):,} repeats in all). Remove the repeats or choose another id column."
        )


class IdIndex:
    """Finds ids by binary search in the ids themselves: 4 bytes a sample where they are not sorted, else none."""

    def __init__(self, ids: NDArray[np.str_]) -> None:
        """Take (n,) unique ids; they are not copied. O(n log n), O(n) where they are sorted."""
        self._ids = ids
        self._order = None if bool((ids[1:] > ids[:-1]).all()) else np.argsort(ids, kind="stable").astype(np.int32)

    def find(self, wanted: Sequence[str]) -> NDArray[np.int64]:
        """Return (m,) the row of each wanted id, -1 for one that is not there. O(m log n).

        >>> IdIndex(np.array(["b", "a"])).find(["a", "c", "bb"]).tolist()
        [1, -1, -1]
        """
        longest = self._ids.dtype.itemsize // 4
        fits = np.array([len(one) <= longest for one in wanted], dtype=bool)
        short = np.array(["" if not fit else one for one, fit in zip(wanted, fits, strict=True)], dtype=self._ids.dtype)
        places = np.searchsorted(self._ids, short, sorter=self._order).clip(0, len(self._ids) - 1)
        rows = places if self._order is None else self._order[places]
        return np.where(fits & (self._ids[rows] == short), rows, -1).astype(np.int64)

    def row(self, one: str) -> int | None:
        """Return the row of one id, None for one that is not there."""
        found = int(self.find([one])[0])
        return None if found < 0 else found
