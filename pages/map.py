"""Map page: the images as the model sees them, coloured, and a lasso from them to the review."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.embedding.store import Seen, map_path
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import map_build, map_gallery, map_plot, review_selection
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.map_colours import MODES, coloured, modes
from pages.ui.map_points import Points, points_of, states_of
from pages.ui.review_states import decided
from pages.ui.score_choice import choose_scores, scored_dataset
from pages.ui.score_sets import ScoreFile, listed, modified
from pages.ui.text import plain

LAYOUTS = {"umap": "UMAP", "pca": "PCA"}


def main() -> None:
    workspace = current_workspace()
    with shown():
        files, _ = listed(workspace)
    if not files:
        st.title("Map")
        st.info("There are no scores yet: the map colours images by suspicion.", icon=":material/scatter_plot:")
        link("score", "Score a dataset")
        return
    title, choice, settings = st.columns([1, 2, 1], vertical_alignment="bottom")
    title.title("Map")
    with choice:
        file = choose_scores(files)
    with settings:
        wanted = map_build.choose_settings()
    with shown():
        dataset = scored_dataset(file)
        path = map_path(workspace, Seen.behind(file.provenance), wanted)
        points = _points(str(path), file)
        finished = points is not None and points.umap is not None
        drawn = map_build.map_file(workspace, file, wanted, finished=finished)
        if drawn is None:
            return
        points = points or _points(str(drawn), file)
    if points is None or not len(points):
        st.info("None of the scored images is on this map: score this dataset again.", icon=":material/info:")
        return
    _map(workspace, file, dataset, points)


def _points(path: str, file: ScoreFile) -> Points | None:
    return points_of((path, modified(path)), file.key) if modified(path) else None


@st.fragment
def _map(workspace: Workspace, file: ScoreFile, dataset: LabeledImages, points: Points) -> None:
    """Draw the map with its controls, and below it what is selected; a selection runs this part alone."""
    with shown(stop=False), st.container(key="live_map"):
        layout, mode, marked = _controls(file, points)
        review, actions = decided(workspace, file.fingerprint)
        states = states_of(points, actions)
        colours, legend = coloured(mode, points, states, dataset.class_names)
        chosen = map_plot.selection(points)
        positions = points.umap if layout == "umap" and points.umap is not None else points.pca
        places = points.index.get_indexer(pd.Index(marked)) if marked else np.empty(0, int)
        map_plot.plot(
            points, positions, colours, legend, states, dataset.class_names, chosen, places[places >= 0].tolist()
        )
        st.caption(_words(file, dataset, points, review, layout))
        map_gallery.draw(points, chosen, dataset, fingerprint=file.fingerprint)


def _controls(file: ScoreFile, points: Points) -> tuple[str, str, list[str]]:
    """Draw what to lay out by, what to colour by, and whether to ring the Review page's images."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        layout = "pca"
        if points.umap is not None:
            layout = st.segmented_control(
                "Layout", list(LAYOUTS), default="umap", required=True, key="map_layout", persist_state="session",
                format_func=LAYOUTS.__getitem__, label_visibility="collapsed",
            ) or "umap"  # fmt: skip
        options = modes(points)
        if st.session_state.get("map_colour", options[0]) not in options:
            st.session_state["map_colour"] = options[0]
        mode = st.segmented_control(
            "Colour", options, default=None if "map_colour" in st.session_state else options[0], required=True,
            key="map_colour", persist_state="session", format_func=MODES.__getitem__, label_visibility="collapsed",
        )  # fmt: skip
        ids = review_selection.page_ids(file.fingerprint)
        ring = ids and st.toggle("Ring the images on Review's page", value=False, key="map_ring")
    return layout, mode or options[0], ids if ring else []


def _words(file: ScoreFile, dataset: LabeledImages, points: Points, review: str, layout: str) -> str:
    parts = [f"{LAYOUTS[layout]} of what {plain(file.model)} hands to its last layer"]
    if len(points) < len(dataset):
        parts.append(f"{len(points):,} of {len(dataset):,} images are scored and readable")
    if review:
        parts.append(f"review “{plain(review)}”")
    parts.append("drag to select, Shift adds, Alt takes away, the wheel zooms")
    return " · ".join(parts)


main()
