"""Label noise page, last tab: images that training and validation set share, byte for byte and nearly."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.registry import list_datasets
from fvm_core.workspace import Workspace
from pages.ui import noise_across, selection
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.open_data import open_cached
from pages.ui.overlap_view import pairs_table, warn_of_overlap
from pages.ui.score_sets import ScoreFile
from pages.ui.text import plain


def draw(workspace: Workspace, file: ScoreFile, dataset: LabeledImages) -> None:
    """Draw what the job of the Load page finds for the two sets behind these scores, then near-duplicates.

    Raises:
        FVMError: a dataset cannot be opened, or a job cannot be started.
    """
    held_out = str(file.provenance.get("validation", {}).get("name", ""))
    known = list_datasets(workspace)
    if file.dataset not in known or held_out not in known:
        missing = file.dataset if file.dataset not in known else held_out
        st.info(f"The dataset {plain(missing)} behind these scores is not in the workspace any more.")
        return
    with shown(stop=False):
        _same_bytes(workspace, file, held_out)
    st.divider()
    noise_across.draw(workspace, file, dataset, open_cached(workspace, held_out), held_out)


def _same_bytes(workspace: Workspace, file: ScoreFile, held_out: str) -> None:
    st.markdown(f"Images of **{plain(file.dataset)}** that are, byte for byte, also in **{plain(held_out)}**:")
    pairs = warn_of_overlap(workspace, file.dataset, held_out)
    if pairs is None:
        return
    if not pairs:
        st.success("None. The two sets share no image.", icon=":material/check:")
        return
    pairs_table(pairs)
    selection.remember("dataset", file.dataset)
    selection.remember("validation", held_out)
    link("load", "Make a training set without them (Load page, overlap)")
