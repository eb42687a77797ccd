"""Compare page, fourth tab: how far methods rank the samples alike."""

from __future__ import annotations

from collections.abc import Sequence

import plotly.graph_objects as go
import streamlit as st

from pages.ui import chart
from pages.ui.agreement import correlation, overlaps, steps_of_k
from pages.ui.comparison import keys_of, shared_samples
from pages.ui.figures import overlap, rank_heatmap
from pages.ui.kept import kept
from pages.ui.score_sets import FileKey, ScoreFile, labels_of, line_styles
from pages.ui.text import plain

SIDE_BY_SIDE = 7


def draw(files: Sequence[ScoreFile]) -> None:
    """Draw the tab for the chosen files."""
    if len(files) < 2:
        st.info("Choose a second method above to compare it with.", icon=":material/add:")
        return
    if len(files) <= SIDE_BY_SIDE:
        left, right = st.columns(2, gap="medium")
    else:
        left, right = st.container(), st.container()
    with left:
        st.subheader("Rank correlation", anchor=False)
        st.caption(
            "Spearman's ρ of suspicion: 1 (blue) = the same order, 0 (white) = unrelated, −1 (orange) = the opposite "
            "order. Each number stands once, below the diagonal."
        )
        matrix = correlation(files)
        table = matrix.rename_axis("method").reset_index()
        figure = _heatmap(keys_of(files), labels_of(files), files)
        chart.draw(figure, name="rank-correlation", data=table, alt="Spearman correlation of methods")
    with right:
        st.subheader("Overlap of the most suspicious", anchor=False)
        st.caption("Share of the k most suspicious samples that two methods have in common.")
        _overlap(files)


@st.cache_resource(show_spinner=False, max_entries=24)
def _heatmap(keys: tuple[FileKey, ...], labels: tuple[str, ...], _files: Sequence[ScoreFile]) -> go.Figure:
    return rank_heatmap(correlation(_files))


@st.cache_resource(show_spinner=False, max_entries=96)
def _curves(
    keys: tuple[FileKey, ...], labels: tuple[str, ...], _files: Sequence[ScoreFile], reference: int, k: int
) -> go.Figure:
    total = len(shared_samples(_files))
    return overlap(overlaps(_files, reference), line_styles(_files), total=total, k=k)


@st.fragment
def _overlap(files: Sequence[ScoreFile]) -> None:
    labels = {item.path: item.label for item in files}
    total = len(shared_samples(files))
    ks = steps_of_k(total)
    one, two = st.columns(2, gap="medium")
    start = max((number for number, item in enumerate(files) if item.method == "influence"), default=0)
    path = one.selectbox(
        "Compare with", list(labels), format_func=labels.__getitem__, persist_state="session",
        key=kept("overlap_with", labels, files[start].path),
    )  # fmt: skip
    k = two.select_slider(
        "k", ks, format_func=lambda k: f"{k:,}", key=kept("overlap_k", ks, ks[len(ks) // 2]), persist_state="session",
        help="How many of the most suspicious samples of each method are looked at",
    )  # fmt: skip
    reference = list(labels).index(path)
    frame = overlaps(files, reference)
    at = frame[frame["k"] == k].sort_values("overlap", ascending=False)
    best, worst = at.iloc[0], at.iloc[-1]
    sentence = f"Of the {k:,} most suspicious by {labels[path]}, {best['method']} shares {100 * best['overlap']:.0f}%"
    if len(at) > 1:
        sentence += f" (the most) and {worst['method']} {100 * worst['overlap']:.0f}% (the least)"
    st.markdown(plain(f"{sentence}; chance would share {100 * k / total:.1f}%."))
    chart.draw(
        _curves(keys_of(files), labels_of(files), files, reference, k), name="overlap", data=frame,
        alt=f"Overlap of the top k with {labels[path]}",
    )  # fmt: skip
