"""Label noise page, third tab: images that are nearly the same and have different labels."""

from __future__ import annotations

import html

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import UNKNOWN, LabeledImages
from fvm_core.embedding.duplicates import NearPairs, near_pairs
from fvm_core.embedding.store import Seen, neighbours_path
from fvm_core.workspace import Workspace
from pages.ui import chart, review_selection
from pages.ui.links import link
from pages.ui.neighbours import neighbour_table
from pages.ui.score_sets import ScoreFile, modified
from pages.ui.thumbnails import thumbnail

PER_PAGE = 12
START, MOST = 20, 40
STYLE = """<style>
.fvm-pairs {display: grid; grid-template-columns: repeat(auto-fill, minmax(250px, 1fr)); gap: 0.8rem;}
.fvm-pair {border: 1px solid rgba(128,128,128,0.35); border-radius: 0.4rem; padding: 0.55rem; font-size: 0.82rem;
  line-height: 1.35; overflow-wrap: anywhere;}
.fvm-pair .two {display: grid; grid-template-columns: 1fr 1fr; gap: 0.5rem;}
.fvm-pair img, .fvm-pair .none {width: 100%; aspect-ratio: 1; object-fit: contain; image-rendering: pixelated;
  border-radius: 0.25rem; background: rgba(128,128,128,0.12); display: block; margin-bottom: 0.3rem;}
.fvm-pair b {font-weight: 600;}
.fvm-pair .apart {margin-top: 0.35rem; opacity: 0.8; font-variant-numeric: tabular-nums;}
</style>"""


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
    st.html(f'{STYLE}<div class="fvm-pairs">{"".join(_card(found, k, dataset) for k in shown)}</div>')


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


def _card(pairs: NearPairs, at: int, dataset: LabeledImages) -> str:
    halves = "".join(_half(dataset, int(row)) for row in (pairs.first[at], pairs.second[at]))
    apart = f"pixels differ by {pairs.pixel_rms[at]:.1f}, cosine {pairs.similarity[at]:.3f}"
    return f'<div class="fvm-pair"><div class="two">{halves}</div><div class="apart">{apart}</div></div>'


def _half(dataset: LabeledImages, row: int) -> str:
    image, name = thumbnail(dataset, row)[0], html.escape(str(dataset.ids[row]))
    picture = '<div class="none">not readable</div>'
    if image:
        picture = f'<img src="{html.escape(image)}" alt="{name}" title="{name}">'
    truth = UNKNOWN if dataset.clean_labels is None else int(dataset.clean_labels[row])
    note = f"<br>true: {html.escape(dataset.class_names[truth])}" if truth != UNKNOWN else ""
    return f"<div>{picture}<b>{html.escape(dataset.class_names[dataset.labels[row]])}</b>{note}</div>"
