"""The last part of the Load page: which images both sets share, and a training set without them."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, read_spec
from fvm_core.workspace import Workspace
from pages.ui import clean_rows, errors, links, selection
from pages.ui.overlap_view import pairs_table, warn_of_overlap
from pages.ui.text import plain
from pages.ui.tune_form import free_name

NEXT = "overlap_next"


def overlap_part(workspace: Workspace, datasets: dict[str, DatasetSpec]) -> None:
    """Draw the two sets to compare, which are then those in use, and what they share."""
    if len(datasets) < 2:
        st.info("Load a training dataset and a validation set first (parts 1 and 3).", icon=":material/info:")
        return
    left, right = st.columns(2)
    with left:
        train = _choose("dataset", list(datasets), "Training dataset", made=st.session_state.pop(NEXT, None))
    with right:
        held_out = _choose("validation", list(datasets), "Clean validation set")
    if train == held_out:
        st.warning(
            "The training dataset is also the validation set. Choose two different sets.", icon=":material/warning:"
        )
        return
    with errors.shown(stop=False):
        st.markdown(f"Images of **{plain(train)}** that are, byte for byte, also in **{plain(held_out)}**:")
        pairs = warn_of_overlap(workspace, train, held_out)
        if pairs is None:
            return
        if not pairs:
            st.success("None. The two sets share no image.", icon=":material/check:")
            links.link("tune", "Tune the checkpoint")
            return
        pairs_table(pairs)
        name = st.text_input(
            "Name of the set without them", free_name(f"{train}-no-overlap", datasets), key=f"overlap_name_{train}"
        )
        if st.button("Make a training dataset without them", type="primary", key="overlap_split"):
            spec = clean_rows.without(read_spec(workspace, train), workspace, (first for first, _ in pairs))
            added = add_dataset(workspace, name, spec)
            st.session_state[NEXT] = added
            st.session_state["look_dataset"] = added
            st.rerun()


def _choose(role: str, names: list[str], label: str, *, made: str | None = None) -> str:
    """Draw one select box that starts at the set in use, or at the one just `made`, and use what is chosen."""
    key = f"overlap_{role}"
    if made in names or st.session_state.get(key) not in names:
        st.session_state[key] = made if made in names else selection.propose(role, names)
    name = str(st.selectbox(label, names, key=key))
    selection.remember(role, name)
    return name
