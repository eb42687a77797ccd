"""Label noise page, last tab: images that training and validation set share."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.registry import list_datasets
from fvm_core.workspace import Workspace
from pages.ui import selection
from pages.ui.links import link
from pages.ui.overlap_view import pairs_table, warn_of_overlap
from pages.ui.score_sets import ScoreFile
from pages.ui.text import plain


def draw(workspace: Workspace, file: ScoreFile) -> None:
    """Draw what the job of the Load page finds for the two sets behind these scores.

    Raises:
        FVMError: a dataset cannot be opened, or the job cannot be started.
    """
    held_out = str(file.provenance.get("validation", {}).get("name", ""))
    known = list_datasets(workspace)
    if file.dataset not in known or held_out not in known:
        missing = file.dataset if file.dataset not in known else held_out
        st.info(f"The dataset {plain(missing)} behind these scores is not in the workspace any more.")
        return
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
