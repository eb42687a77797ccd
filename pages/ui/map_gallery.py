"""Below the map: the selected images, and the way from them to the review."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from pages.ui import review_selection
from pages.ui.cards import card, grid
from pages.ui.map_plot import Selected
from pages.ui.map_points import Points
from pages.ui.text import plain
from pages.ui.theme import MISLABELED
from pages.ui.thumbnails import thumbnail

PER_PAGE = 24


def draw(points: Points, chosen: Selected, dataset: LabeledImages, *, fingerprint: str) -> None:
    """Draw the selected images, the most suspicious first, and the button that reviews them."""
    count = len(chosen.places)
    if not count:
        st.info("Draw a lasso or a box around points, or click one, to see the images.", icon=":material/lasso_select:")
        return
    order = chosen.places[np.argsort(-points.suspicion[chosen.places], kind="stable")]
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        st.subheader(f"{count:,} image{'s' if count > 1 else ''} selected", anchor="selected")
        if st.button("Review these", type="primary", icon=":material/fact_check:", key="map_review"):
            review_selection.review(points.ids[order].tolist(), origin="the map", fingerprint=fingerprint)
    st.caption(_summary(points, chosen, dataset.class_names))
    pages = -(-count // PER_PAGE)
    page = st.pagination(pages, key=f"map_page_{chosen.client}_{chosen.number}") if pages > 1 else 1
    names = dataset.class_names
    deck = []
    for place in order[(page - 1) * PER_PAGE : page * PER_PAGE].tolist():
        deck.append(
            card(
                thumbnail(dataset, int(points.rows[place]))[0], name=str(points.ids[place]),
                given=_name(names, points.given[place]), suggested=_name(names, points.suggested[place]),
                truth=_name(names, points.truth[place]),
                bars=[("suspicion", MISLABELED, float(points.percentile[place]))],
            )
        )  # fmt: skip
    st.html(grid(deck))


def _name(names: Sequence[str], label: int) -> str:
    return names[label] if 0 <= label < len(names) else ""


def _summary(points: Points, chosen: Selected, names: Sequence[str]) -> str:
    """Return the labels in the selection by count, and how suspicious its middle is."""
    counts = np.bincount(points.given[chosen.places], minlength=len(names))
    top = [f"{plain(names[k])} {counts[k]:,}" for k in np.argsort(-counts, kind="stable")[:6] if counts[k]]
    middle = float(np.median(points.percentile[chosen.places]))
    return f"Given labels: {', '.join(top)} · median suspicion percentile {middle:.0f}"
