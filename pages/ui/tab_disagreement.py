"""Compare page, fifth tab: the images on which two methods disagree most."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.data.dataset import UNKNOWN
from fvm_core.data.registry import read_spec
from fvm_core.errors import FVMError
from fvm_core.workspace import current_workspace
from pages.ui import chart
from pages.ui.cards import card, grid
from pages.ui.comparison import percentiles, ranks_of, shared_samples, values
from pages.ui.figures import LineStyle
from pages.ui.kept import kept
from pages.ui.open_data import open_scored
from pages.ui.score_sets import ScoreFile, line_styles
from pages.ui.text import message
from pages.ui.thumbnails import thumbnail

PER_PAGE = 18
MOST = 360


def most_apart(
    first: np.ndarray, second: np.ndarray, direction: str, chosen: np.ndarray, *, most: int = MOST
) -> np.ndarray:
    """Return indices of samples by falling difference of ranks (`first` - `second`, both (n,), larger is more
    suspicious); ties in their order.

    `direction`: "first" more suspicious by the first, "second" by the second, "both" either. `chosen` (n,) bool.
    O(n): only the `most` are sorted.
    """
    gap = second - first if direction == "second" else first - second
    if direction == "both":
        gap = np.abs(gap)
    found = np.flatnonzero(chosen & (gap > 0))
    gap = gap[found]
    if len(found) > most:
        large = gap >= np.partition(gap, -most)[-most]
        found, gap = found[large], gap[large]
    return found[np.argsort(-gap, kind="stable")][:most]


def draw(files: Sequence[ScoreFile]) -> None:
    """Draw the tab for the chosen files."""
    if len(files) < 2:
        st.info("Choose a second method above: it takes two to disagree.", icon=":material/add:")
        return
    one, two = _pair(files)
    if one is two:
        st.info("Choose two different methods.")
        return
    samples = shared_samples(files)
    names = [str(name) for name in one.provenance.get("class_names", ())]
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    directions = {"both": "Either way", "first": "First higher", "second": "Second higher"}
    direction = bar.segmented_control(
        "Direction", list(directions), default="both", required=True, key="disagree_direction",
        format_func=directions.__getitem__, persist_state="session",
    )  # fmt: skip
    labels = [None, *range(len(names))]
    given = bar.selectbox(
        "Given label", labels, key=kept("disagree_class", labels, None), persist_state="session",
        format_func=lambda k: "All classes" if k is None else names[k], width=190,
    )  # fmt: skip
    kinds = {"all": "All", "wrong": "Mislabeled", "clean": "Clean"}
    kind = "all"
    if samples.known.any():
        kind = bar.segmented_control(
            "Truth", list(kinds), default="all", required=True, key="disagree_truth", format_func=kinds.__getitem__,
            persist_state="session",
        )  # fmt: skip
    keep = np.ones(len(samples), bool) if given is None else samples.labels == given
    if kind != "all":
        keep &= samples.wrong if kind == "wrong" else samples.known & ~samples.wrong
    order = most_apart(ranks_of(files, one), ranks_of(files, two), direction or "both", keep)
    if not len(order):
        st.info("No sample fits these filters.")
        return
    suggested = values(files, one, "suggested")[order]
    if (suggested == UNKNOWN).all():
        suggested = values(files, two, "suggested")[order]

    def table(part: slice) -> pd.DataFrame:
        return _table(files, one, two, order[part], suggested[part], names)

    pages = -(-len(order) // PER_PAGE)
    if st.session_state.get("disagree_page", 1) > pages:
        del st.session_state["disagree_page"]
    page = st.pagination(pages, key="disagree_page", persist_state="session") if pages > 1 else 1
    _images(table(slice((page - 1) * PER_PAGE, page * PER_PAGE)), one, two, line_styles(files))
    chart.csv_button(
        lambda: table(slice(None)).drop(columns="row"), name="disagreement",
        label=f"These {len(order):,} samples as CSV",
    )  # fmt: skip


def _pair(files: Sequence[ScoreFile]) -> tuple[ScoreFile, ScoreFile]:
    known = {item.path: item for item in files}
    influence = max((n for n, item in enumerate(files) if item.method == "influence"), default=len(files) - 1)
    other = next((n for n, item in enumerate(files) if n != influence and item.method == "standard"), None)
    if other is None:
        other = next(n for n in range(len(files)) if n != influence)
    if st.session_state.get("disagree_second") == files[influence].path:  # a default is not to be the other's choice
        influence, other = other, influence
    chosen = []
    for box, title, default in zip(st.columns(2), ("first", "second"), (influence, other), strict=True):
        chosen.append(
            box.selectbox(
                f"{title.capitalize()} method", list(known), format_func=lambda path: known[path].label,
                key=kept(f"disagree_{title}", known, files[default].path), persist_state="session",
            )
        )  # fmt: skip
    return known[chosen[0]], known[chosen[1]]


def _table(
    files: Sequence[ScoreFile], one: ScoreFile, two: ScoreFile, order: np.ndarray, suggested: np.ndarray,
    names: Sequence[str],
) -> pd.DataFrame:  # fmt: skip
    """Return the samples in `order`: id, row in the dataset, given, truth, suggested (names) and both percentiles."""
    samples = shared_samples(files)

    def named(labels: np.ndarray) -> list[str]:
        return [names[k] if 0 <= k < len(names) else "" for k in labels]

    return pd.DataFrame(
        {
            "id": samples.ids_at(order),
            "row": samples.rows[order],
            "given": named(samples.labels[order]),
            "suggested": named(suggested),
            "truth": named(samples.clean[order]),
            "first": percentiles(files, one, order),
            "second": percentiles(files, two, order),
        }
    )


def _images(table: pd.DataFrame, one: ScoreFile, two: ScoreFile, styles: Mapping[str, LineStyle]) -> None:
    """Draw the samples as cards with thumbnails, or as a table when the dataset cannot be opened."""
    try:
        spec = read_spec(current_workspace(), one.dataset)
        dataset = open_scored(spec, name=one.dataset, fingerprint=one.fingerprint)
    except FVMError as error:
        st.warning(f"The images cannot be shown: {message(error)}", icon=":material/hide_image:")
        st.dataframe(table.drop(columns="row"), hide_index=True, alt="Samples on which the methods disagree")
        return
    looks = [(item.label, styles[item.label].colour) for item in (one, two)]
    deck = []
    for row in table.to_dict("records"):
        image, _ = thumbnail(dataset, row["row"]) if 0 <= row["row"] < len(dataset) else ("", "")
        bars = [(*looks[0], row["first"]), (*looks[1], row["second"])]
        words = {key: row[key] for key in ("given", "suggested", "truth")}
        deck.append(card(image, name=row["id"], bars=bars, **words))
    st.html(grid(deck))
    st.caption("Bars: suspicion percentile of the image among all samples, 100 = most suspicious.")
