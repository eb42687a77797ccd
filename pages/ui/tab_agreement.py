"""Compare page, fourth tab: how far methods rank the samples alike."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.influence.metrics import overlap_at_k
from pages.ui import chart
from pages.ui.comparison import keys_of, percentiles, shared_samples, values
from pages.ui.figures import overlap, rank_heatmap
from pages.ui.score_sets import FileKey, ScoreFile, line_styles


@st.cache_data(show_spinner=False, max_entries=16)
def _correlation(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile]) -> pd.DataFrame:
    ranks = np.stack([percentiles(_files, item) for item in _files])
    labels = [item.label for item in _files]
    with np.errstate(invalid="ignore", divide="ignore"):
        matrix = np.atleast_2d(np.corrcoef(ranks))
    return pd.DataFrame(matrix, index=labels, columns=labels)


def correlation(files: Sequence[ScoreFile]) -> pd.DataFrame:
    """Return Spearman's rank correlation of suspicion between all pairs (m, m), over the shared samples: Pearson's of
    the ranks, ties sharing their mean rank."""
    return _correlation(keys_of(files), files)


def steps_of_k(total: int, *, points: int = 40) -> list[int]:
    """Return about `points` whole numbers from 10 (or fewer) to `total`, evenly spaced on a log axis.

    >>> steps_of_k(4)
    [1, 2, 3, 4]
    """
    first = min(10, max(1, total // 10))
    return sorted({int(k) for k in np.unique(np.round(np.geomspace(first, total, points)).astype(int))})


@st.cache_data(show_spinner=False, max_entries=16)
def _overlaps(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile], reference: int) -> pd.DataFrame:
    total = len(shared_samples(_files))
    own = values(_files, _files[reference], "suspicion").astype(float)
    parts = []
    for number, item in enumerate(_files):
        if number != reference:
            other = values(_files, item, "suspicion").astype(float)
            ks = steps_of_k(total)
            shares = [overlap_at_k(own, other, k) for k in ks]
            parts.append(pd.DataFrame({"method": item.label, "k": ks, "overlap": shares}))
    return pd.concat(parts, ignore_index=True)


def draw(files: Sequence[ScoreFile]) -> None:
    """Draw the tab for the chosen files."""
    if len(files) < 2:
        st.info("Choose a second method above to compare it with.", icon=":material/add:")
        return
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Rank correlation", anchor=False)
        matrix = correlation(files)
        table = matrix.rename_axis("method").reset_index()
        chart.draw(rank_heatmap(matrix), name="rank-correlation", data=table, alt="Spearman correlation of methods")
        st.caption("Spearman's ρ of suspicion: 1 = the same order, 0 = unrelated, −1 = the opposite order.")
    with right:
        st.subheader("Overlap of the most suspicious", anchor=False)
        _overlap(files)


def _overlap(files: Sequence[ScoreFile]) -> None:
    labels = [item.label for item in files]
    one, two = st.columns(2)
    start = max((number for number, item in enumerate(files) if item.method == "influence"), default=0)
    reference = one.selectbox(
        "Compare with", range(len(labels)), index=start, format_func=labels.__getitem__, key="overlap_with"
    )
    total = len(shared_samples(files))
    ks = steps_of_k(total)
    k = two.select_slider(
        "k", ks, value=ks[len(ks) // 2], format_func=lambda k: f"{k:,}", key="overlap_k",
        help="How many of the most suspicious samples of each method are looked at",
    )  # fmt: skip
    frame = _overlaps(keys_of(files), files, reference)
    chart.draw(
        overlap(frame, line_styles(files), total=total, k=k), name="overlap", data=frame,
        alt=f"Overlap of the top k with {labels[reference]}",
    )  # fmt: skip
    at = frame[frame["k"] == k].sort_values("overlap", ascending=False)
    best, worst = at.iloc[0], at.iloc[-1]
    with st.container():
        st.caption("Share of the k most suspicious samples that two methods have in common.")
        columns = st.columns(2)
        columns[0].metric(f"Closest at k = {k:,}", f"{100 * best['overlap']:.0f}%")
        columns[0].text(best["method"])
        columns[1].metric(f"Farthest at k = {k:,}", f"{100 * worst['overlap']:.0f}%")
        columns[1].text(worst["method"])
