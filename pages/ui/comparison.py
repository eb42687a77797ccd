"""Score files side by side: joined by row of the dataset, read column by column, a few columns kept in the cache.

A column of a million rows takes 8 MB and a hundredth of a second to read, so only the last ones stay; what is drawn
from them (curves, bins, figures of a table) is small and kept for long.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import streamlit as st
from numpy.typing import ArrayLike, NDArray

from fvm_core.data.dataset import UNKNOWN
from fvm_core.errors import DataError
from fvm_core.influence.store import read_column, read_ids
from pages.ui.score_sets import FileKey, ScoreFile


@dataclass(frozen=True, eq=False)
class Samples:
    """The `n` samples that all files share, in the order of the first file.

    `rows` (n,) row in the dataset; `labels` (n,) given; `clean` (n,) known label or UNKNOWN. `totals` (m,) samples in
    each file. `first` is the first file, `places` (n,) where the samples are in it (None: all, in order). `token` is
    the same for the same samples with the same labels.
    """

    rows: NDArray[np.int32]
    labels: NDArray[np.int32]
    clean: NDArray[np.int32]
    totals: tuple[int, ...]
    first: str
    places: NDArray[np.int32] | None
    token: str

    def __len__(self) -> int:
        return len(self.rows)

    def ids_at(self, positions: ArrayLike) -> list[str]:
        """Return the ids of some of the samples; only they are read from the file."""
        positions = np.asarray(positions, dtype=np.int64)
        return read_ids(self.first, positions if self.places is None else self.places[positions])

    @cached_property
    def known(self) -> NDArray[np.bool_]:
        """Return (n,) where the truth is known."""
        return self.clean != UNKNOWN

    @cached_property
    def wrong(self) -> NDArray[np.bool_]:
        """Return (n,) where the given label is known to be wrong."""
        return self.known & (self.clean != self.labels)


def keys_of(files: Sequence[ScoreFile]) -> tuple[FileKey, ...]:
    """Return what the cache knows files by."""
    return tuple(item.key for item in files)


@st.cache_resource(show_spinner=False, max_entries=4)
def _column(key: FileKey, column: str) -> NDArray:
    """Return one column of one file; shared between sessions, so never written to."""
    return read_column(key[0], column)


@st.cache_resource(show_spinner=False, max_entries=16)
def _shared(files: tuple[FileKey, ...]) -> tuple[Samples, tuple[NDArray[np.int32] | None, ...]]:
    """Return the shared samples and, for each file, where they are in it (None: all of them, in order)."""
    first = shared = _rows(files[0])
    totals, alike = [], True
    for key in files:
        rows = first if key == files[0] else _rows(key)
        totals.append(len(rows))
        if not (np.diff(rows) > 0).all() and len(np.unique(rows)) < len(rows):
            raise DataError(f"score file `{key[0]}` holds a sample id twice. Score the dataset again.")
        if not np.array_equal(rows, first):
            alike, shared = False, shared[np.isin(shared, rows)]
    places: tuple[NDArray[np.int32] | None, ...] = (None,) * len(files)
    if not alike:
        places = tuple(_where(_rows(key), shared) for key in files)
    labels, clean = (
        _take(read_column(files[0][0], name), places[0]).astype(np.int32) for name in ("label", "clean_label")
    )
    digest = hashlib.sha256()
    for part in (shared, labels, clean):
        digest.update(part.tobytes())
    return Samples(shared, labels, clean, tuple(totals), files[0][0], places[0], digest.hexdigest()), places


def _rows(key: FileKey) -> NDArray[np.int32]:
    return read_column(key[0], "row").astype(np.int32)


def _where(rows: NDArray[np.int32], wanted: NDArray[np.int32]) -> NDArray[np.int32]:
    """Return where each of `wanted` is in `rows`, which holds them all once."""
    order = np.argsort(rows, kind="stable")
    return order[np.searchsorted(rows, wanted, sorter=order)].astype(np.int32)


def _take(values: NDArray, places: NDArray[np.int32] | None) -> NDArray:
    return values if places is None else values[places]


def shared_samples(files: Sequence[ScoreFile]) -> Samples:
    """Return the samples that all `files` (of one dataset fingerprint) score.

    Raises:
        DataError: a file is damaged, holds an id twice, or the files share no sample.
    """
    samples, _ = _shared(keys_of(files))
    if not len(samples):
        raise DataError("the chosen score files share no sample: they were limited to different ones. Choose others.")
    return samples


def values(files: Sequence[ScoreFile], of: ScoreFile, column: str) -> NDArray:
    """Return (n,) `column` ("score", "suspicion", "suggested") of one of `files`, for the samples all of them share."""
    _, places = _shared(keys_of(files))
    return _take(_column(of.key, column), places[list(files).index(of)])


@st.cache_resource(show_spinner=False, max_entries=16)
def _double_ranks(key: FileKey, token: str, _files: Sequence[ScoreFile], _of: ScoreFile) -> NDArray[np.int32]:
    return doubled_ranks(values(_files, _of, "suspicion"))


def doubled_ranks(suspicion: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return (n,) twice the rank from 1 (least suspicious) to n, ties sharing their mean: whole numbers. NaN is least.

    >>> doubled_ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [5, 2, 5]
    """
    numbers = np.where(np.isnan(suspicion), -np.inf, suspicion)
    order = np.argsort(numbers)  # any order among equals: they share their mean
    ordered = numbers[order]
    starts = np.append(0, np.flatnonzero(ordered[1:] != ordered[:-1]) + 1)
    ends = np.append(starts[1:], len(ordered))
    result = np.empty(len(order), dtype=np.int32)
    result[order] = np.repeat(starts + 1 + ends, ends - starts)
    return result


def ranks_of(files: Sequence[ScoreFile], of: ScoreFile) -> NDArray[np.int32]:
    """Return `doubled_ranks` of one of `files` among the shared samples; not to be written to."""
    return _double_ranks(of.key, shared_samples(files).token, files, of)


def percentiles(
    files: Sequence[ScoreFile], of: ScoreFile, places: NDArray[np.integer] | None = None
) -> NDArray[np.float64]:
    """Return (n,) how many of the shared samples are less suspicious, in %; ties share the middle. 100 = most.

    With `places` (m,) only those of these samples, (m,).
    """
    ranks = ranks_of(files, of)
    return 50 * ((ranks if places is None else ranks[places]) - 1.0) / len(ranks)
