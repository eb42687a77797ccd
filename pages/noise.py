"""Label noise page: which classes are confused, how good each class is, and images that stand twice."""

from __future__ import annotations

from collections.abc import Sequence

import streamlit as st

from fvm_core.workspace import current_workspace
from pages.ui import noise_classes, noise_confusions, noise_duplicates, noise_sets
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.noise_data import Noise, expected, noise_of
from pages.ui.score_choice import choose_scores, scored_dataset
from pages.ui.score_sets import ScoreFile, listed, posterior_file

TABS = ["Confusions", "Classes", "Near-duplicates", "Training and validation"]


def main() -> None:
    workspace = current_workspace()
    with shown():
        files, _ = listed(workspace)
    if not files:
        st.title("Label noise")
        st.info("There are no scores yet: they tell which labels may be wrong.", icon=":material/grid_on:")
        link("score", "Score a dataset")
        return
    title, choice, threshold = st.columns([1.4, 2, 1.6], vertical_alignment="bottom")
    title.title("Label noise")
    with choice:
        file = choose_scores(files)
    with shown():
        dataset = scored_dataset(file)
        names = dataset.class_names
        with threshold:
            noise = _noise(file, files, len(names))
    tabs = dict(zip(TABS, st.tabs(TABS, key="noise_tab", on_change="rerun"), strict=True))
    for name, tab in tabs.items():
        if not tab.open:
            continue
        with tab, shown(stop=False):
            if name == "Confusions":
                noise_confusions.draw(noise, names, fingerprint=file.fingerprint)
            elif name == "Classes":
                noise_classes.draw(noise, names, fingerprint=file.fingerprint)
            elif name == "Near-duplicates":
                noise_duplicates.draw(workspace, file, dataset)
            else:
                noise_sets.draw(workspace, file, dataset)


def _noise(file: ScoreFile, files: Sequence[ScoreFile], classes: int) -> Noise:
    """Draw the threshold: how many of the most suspicious images count as flagged."""
    posterior = posterior_file(file, files)
    start = 10
    if posterior is not None:
        start = min(max(round(100 * expected(posterior.key, classes)[1]), 1), 90)
    share = st.slider(
        "Flagged: the most suspicious", 1, 90, start, format="%d %%", key=f"noise_share_{file.fingerprint[:12]}",
        help="Starts at the share of wrong labels that the posterior expects, else at 10 %.", persist_state="session",
    )  # fmt: skip
    return noise_of(file, posterior, share / 100, classes)


main()
