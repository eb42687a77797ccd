"""The images as points: the positions of a map, joined with the scores that colour them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray
from scipy.stats import rankdata

from fvm_core.embedding.store import read_map
from fvm_core.provenance import digest
from pages.ui.score_choice import score_frame
from pages.ui.score_sets import FileKey

STATES = ("undecided", "accept", "keep", "pick", "skip")


@dataclass(frozen=True)
class Points:
    """The n images that are on the map and have a score. `ids` (n,) str; `rows` (n,) in the dataset; `pca`, `umap`
    (n, 2) float32 in [0, 1], the second None until it is there; `given`, `suggested`, `truth` (n,) int16, -1 unknown;
    `percentile` (n,) uint8: share of the images that are less suspicious, 0 to 100. `token` names images and order."""

    ids: NDArray[np.object_]
    rows: NDArray[np.int64]
    pca: NDArray[np.float32]
    umap: NDArray[np.float32] | None
    given: NDArray[np.int16]
    suggested: NDArray[np.int16]
    truth: NDArray[np.int16]
    suspicion: NDArray[np.float64]
    percentile: NDArray[np.uint8]
    token: str

    def __len__(self) -> int:
        return len(self.ids)

    @cached_property
    def index(self) -> pd.Index:
        """Return the ids as an index: where a given id is."""
        return pd.Index(self.ids)


@st.cache_resource(max_entries=4, show_spinner="Reading the map …")
def points_of(positions: FileKey, scores: FileKey) -> Points:
    """Return the points of a map file under a score file (path and time of both).

    Raises:
        DataError: one of them is damaged.
    """
    frame, table = read_map(Path(positions[0])), score_frame(scores)
    place = pd.Index(table["id"]).get_indexer(pd.Index(frame["id"]))
    frame, table = frame[place >= 0].reset_index(drop=True), table.iloc[place[place >= 0]].reset_index(drop=True)
    suspicion = table["suspicion"].to_numpy(np.float64)
    rank = rankdata(np.nan_to_num(suspicion, nan=-np.inf), method="average") if len(table) else np.empty(0)
    laid = frame[["x", "y"]].to_numpy(np.float32)
    given, suggested, truth = (table[key].to_numpy(np.int16) for key in ("label", "suggested", "clean_label"))
    return Points(
        ids=frame["id"].to_numpy(dtype=object), rows=frame["row"].to_numpy(np.int64),
        pca=squared(frame[["pca_x", "pca_y"]].to_numpy(np.float32)),
        umap=squared(laid) if np.isfinite(laid).all() else None,
        given=given, suggested=suggested, truth=truth, suspicion=suspicion,
        percentile=(100 * (rank - 0.5) / max(len(rank), 1)).astype(np.uint8),
        token=digest([scores, len(frame), str(frame["id"].iloc[0]) if len(frame) else ""])[:24],
    )  # fmt: skip


def squared(positions: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return (n, 2) positions moved into the unit square, with one scale for both axes, centred.

    >>> squared(np.array([[0, 0], [4, 2]], np.float32)).tolist()
    [[0.0, 0.25], [1.0, 0.75]]
    """
    if not len(positions):
        return positions.astype(np.float32)
    low, high = positions.min(0), positions.max(0)
    size = float((high - low).max()) or 1.0
    return ((positions - (low + high) / 2) / size + 0.5).astype(np.float32)


def states_of(points: Points, actions: Mapping[str, str]) -> NDArray[np.int16]:
    """Return (n,) the place in STATES of each image's decision."""
    codes = np.zeros(len(points), np.int16)
    at = points.index.get_indexer(pd.Index(list(actions), dtype=object))
    held = np.array([STATES.index(action) for action in actions.values()], np.int16)
    codes[at[at >= 0]] = held[at >= 0]
    return codes
