"""Score files side by side: joined by sample id, read column by column, kept in the cache until a file changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN
from fvm_core.errors import DataError
from fvm_core.influence.store import read_scores
from pages.ui.score_sets import FileKey, ScoreFile


@dataclass(frozen=True)
class Samples:
    """The `n` samples that all files share, in the order of the first file.

    `ids` (n,) str; `rows` (n,) row in the dataset; `labels` (n,) given; `clean` (n,) known label or UNKNOWN.
    `totals` (m,) samples in each file.
    """

    ids: NDArray[np.object_]
    rows: NDArray[np.int64]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64]
    totals: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.ids)

    @property
    def known(self) -> NDArray[np.bool_]:
        """Return (n,) where the truth is known."""
        return self.clean != UNKNOWN

    @property
    def wrong(self) -> NDArray[np.bool_]:
        """Return (n,) where the given label is known to be wrong."""
        return self.known & (self.clean != self.labels)


def keys_of(files: Sequence[ScoreFile]) -> tuple[FileKey, ...]:
    """Return what the cache knows files by."""
    return tuple(item.key for item in files)


@st.cache_resource(show_spinner=False, max_entries=64)
def _column(key: FileKey, column: str) -> pd.Series:
    """Return one column of one file; shared between sessions, so never written to."""
    frame = read_scores(key[0], columns=[column]).frame
    return frame[column]


@st.cache_resource(show_spinner=False, max_entries=16)
def _shared(files: tuple[FileKey, ...]) -> tuple[Samples, tuple[NDArray[np.intp] | None, ...]]:
    """Return the shared samples and, for each file, where they are in it (None: all of them, in order)."""
    columns = [_column(key, "id") for key in files]
    for key, ids in zip(files, columns, strict=True):
        if ids.duplicated().any():
            raise DataError(f"score file `{key[0]}` holds a sample id twice. Score the dataset again.")
    first = columns[0]
    if all(len(ids) == len(first) and bool((ids.to_numpy() == first.to_numpy()).all()) for ids in columns[1:]):
        places: tuple[NDArray[np.intp] | None, ...] = (None,) * len(files)
        shared = first.to_numpy(dtype=object)
    else:
        index = pd.Index(first)
        for ids in columns[1:]:
            index = index[index.isin(pd.Index(ids))]
        shared = index.to_numpy(dtype=object)
        places = tuple(pd.Index(ids).get_indexer(index) for ids in columns)
    labels, clean, rows = (_take(files[0], name, places[0]) for name in ("label", "clean_label", "row"))
    samples = Samples(
        shared, rows.astype(np.int64), labels.astype(np.int64), clean.astype(np.int64), tuple(map(len, columns))
    )
    return samples, places


def _take(key: FileKey, column: str, places: NDArray[np.intp] | None) -> NDArray:
    values = _column(key, column).to_numpy()
    return values if places is None else values[places]


def shared_samples(files: Sequence[ScoreFile]) -> Samples:
    """Return the samples that all `files` score.

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
    return _take(of.key, column, places[list(files).index(of)])


@st.cache_resource(show_spinner=False, max_entries=64)
def _percentiles(files: tuple[FileKey, ...], number: int) -> NDArray[np.float64]:
    _, places = _shared(files)
    suspicion = pd.Series(_take(files[number], "suspicion", places[number]))
    ranks = suspicion.rank(method="average", na_option="top").to_numpy(dtype=np.float64)
    return 100 * (ranks - 0.5) / len(ranks)


def percentiles(files: Sequence[ScoreFile], of: ScoreFile) -> NDArray[np.float64]:
    """Return (n,) how many of the shared samples are less suspicious, in %; ties share the middle. 100 = most."""
    return _percentiles(keys_of(files), list(files).index(of))
