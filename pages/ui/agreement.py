"""How far methods rank the samples alike: rank correlation, and overlap of the most suspicious at every k."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.influence.metrics import top
from pages.ui.comparison import keys_of, ranks_of, shared_samples, values
from pages.ui.score_sets import FileKey, ScoreFile

PIECE = 65_536


@st.cache_data(show_spinner="Comparing the scores …", max_entries=16)
def _correlation(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile]) -> pd.DataFrame:
    labels = [item.label for item in _files]
    return pd.DataFrame(correlate([ranks_of(_files, item) for item in _files]), index=labels, columns=labels)


def correlate(ranks: Sequence[NDArray[np.int32]]) -> NDArray[np.float64]:
    """Return Pearson's correlation (m, m) of `m` doubled ranks (n,), piece by piece so that no (m, n) floats exist."""
    n, mean = len(ranks[0]), float(len(ranks[0]) + 1)
    products = np.zeros((len(ranks), len(ranks)))
    for start in range(0, n, PIECE):
        piece = np.stack([rank[start : start + PIECE] for rank in ranks]) - mean
        products += piece @ piece.T
    size = np.sqrt(np.diag(products))
    with np.errstate(invalid="ignore", divide="ignore"):
        return products / np.outer(size, size)


def correlation(files: Sequence[ScoreFile]) -> pd.DataFrame:
    """Return Spearman's rank correlation of suspicion between all pairs (m, m), over the shared samples.

    Computed at once as Pearson's correlation of the ranks, ties sharing their mean; NaN for a constant score.
    """
    return _correlation(keys_of(files), files)


def steps_of_k(total: int, *, points: int = 40) -> list[int]:
    """Return about `points` whole numbers from 10 (or fewer) to `total`, evenly spaced on a log axis.

    >>> steps_of_k(4)
    [1, 2, 3, 4]
    """
    first = min(10, max(1, total // 10))
    return [int(k) for k in np.unique(np.round(np.geomspace(first, total, points)).astype(int))]


def places(suspicion: NDArray[np.float64]) -> NDArray[np.int32]:
    """Return (n,) the place of each sample in the order of suspicion: 0 = most suspicious, ties in the given order."""
    order = top(suspicion, len(suspicion))
    result = np.empty(len(order), dtype=np.int32)
    result[order] = np.arange(len(order), dtype=np.int32)
    return result


def overlap_curve(one: NDArray[np.integer], other: NDArray[np.integer], ks: Sequence[int]) -> NDArray[np.float64]:
    """Return overlap@k in [0, 1] for every k, from two `places`: a sample is in both tops from its later place on.

    >>> overlap_curve(np.array([0, 1, 2]), np.array([1, 0, 2]), [1, 2, 3]).tolist()
    [0.0, 1.0, 1.0]
    """
    later = np.sort(np.maximum(one, other))
    return np.searchsorted(later, np.asarray(ks), side="left") / np.asarray(ks)


@st.cache_resource(show_spinner=False, max_entries=16)
def _places(key: FileKey, token: str, _files: Sequence[ScoreFile], _of: ScoreFile) -> NDArray[np.int32]:
    return places(values(_files, _of, "suspicion"))


@st.cache_data(show_spinner=False, max_entries=64)
def _overlaps(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile], reference: int) -> pd.DataFrame:
    ks = steps_of_k(len(shared_samples(_files)))
    token = shared_samples(_files).token
    found = [_places(item.key, token, _files, item) for item in _files]
    parts = [
        pd.DataFrame({"method": item.label, "k": ks, "overlap": overlap_curve(found[reference], found[number], ks)})
        for number, item in enumerate(_files)
        if number != reference
    ]
    return pd.concat(parts, ignore_index=True)


def overlaps(files: Sequence[ScoreFile], reference: int) -> pd.DataFrame:
    """Return columns method, k, overlap (0 to 1): file number `reference` against every other one."""
    return _overlaps(keys_of(files), files, reference)
