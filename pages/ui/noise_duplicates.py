"""Label noise page, third tab: images that are nearly the same and have different labels."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.embedding.duplicates import NearPairs, near_pairs
from fvm_core.embedding.store import Seen, neighbours_path
from fvm_core.workspace import Workspace
from pages.ui import chart, review_selection
from pages.ui.links import link
from pages.ui.neighbours import neighbour_table
from pages.ui.noise_pairs import pair_cards
from pages.ui.score_sets import ScoreFile, modified

PER_PAGE = 12
START, MOST = 20, 40


def draw(workspace: Workspace, file: ScoreFile, dataset: LabeledImages) -> None:
    """Draw the pairs with contradicting labels and the way to review them.

    Raises:
        DataError: the scores do not say what they come from, or the neighbours are damaged.
    """
    path = neighbours_path(workspace, Seen.behind(file.provenance))
    if not path.exists():
        st.info(
            "The job that makes the map also looks for images that are alike. Make the map of these scores first.",
            icon=":material/scatter_plot:",
        )
        link("map", "Make the map")
        return
    within = st.slider(
        "Pixels differ by at most", 0, MOST, START, key="noise_within", persist_state="session",
        help="Root mean square over all pixels, each 0 to 255, at the size that the model sees. 0: the same pixels.",
    )  # fmt: skip
    pairs = near_pairs(neighbour_table((str(path), modified(path))), within=float(within))
    found = pairs.contradicting(dataset.labels)
    st.caption(
        "A pair counts if one image is among the ten nearest of the other by what the model sees, and their pixels "
        f"differ by at most {within} of 255 (root mean square). {len(pairs):,} such pairs, {len(found):,} of them with "
        "different labels. Above about 20 plain images (sky, snow) begin to pass for copies."
    )
    if not len(found):
        st.success("No near-duplicates have different labels at this threshold.", icon=":material/check:")
        return
    with st.container(horizontal=True, vertical_alignment="center"):
        ids = _ids(found, dataset)
        if st.button(f"Review these {len(ids):,} images", type="primary", key="noise_pairs_review"):
            review_selection.review(
                ids, origin="near-duplicates with different labels", fingerprint=file.fingerprint
            )  # fmt: skip
        chart.csv_button(_frame(found, dataset), name="near-duplicates")
    pages = -(-len(found) // PER_PAGE)
    page = st.pagination(pages, key=f"noise_pairs_page_{within}") if pages > 1 else 1
    shown = range((page - 1) * PER_PAGE, min(page * PER_PAGE, len(found)))
    st.html(pair_cards(found, shown, dataset, dataset))


def _ids(pairs: NearPairs, dataset: LabeledImages) -> list[str]:
    rows = [row for pair in zip(pairs.first.tolist(), pairs.second.tolist(), strict=True) for row in pair]
    return [str(dataset.ids[row]) for row in dict.fromkeys(rows)]


def _frame(pairs: NearPairs, dataset: LabeledImages) -> pd.DataFrame:
    names = dataset.class_names
    return pd.DataFrame(
        {
            "id": dataset.ids[pairs.first], "other_id": dataset.ids[pairs.second],
            "label": [names[k] for k in dataset.labels[pairs.first]],
            "other_label": [names[k] for k in dataset.labels[pairs.second]],
            "pixel_rms": pairs.pixel_rms, "similarity": pairs.similarity,
        }
    )  # fmt: skip
