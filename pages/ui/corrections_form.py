"""The form that makes a dataset out of another one and the labels that a review exported for it."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, read_spec
from fvm_core.review.imports.corrections import corrections_file
from fvm_core.workspace import Workspace
from pages.ui import errors, selection
from pages.ui.dataset_form import place
from pages.ui.open_data import open_cached
from pages.ui.tune_form import free_name


def corrections_form(workspace: Workspace, datasets: dict[str, DatasetSpec]) -> None:
    """Draw the form that lays labels over a dataset: exported by the Review page, by cleanlab or by Label Studio."""
    with (
        st.expander("Corrected labels from a review", icon=":material/edit_note:", key="corrections"),
        errors.shown(stop=False),
    ):
        name = st.selectbox("Dataset they belong to", list(datasets), key="corrections_dataset")
        path = place(
            workspace,
            "corrections",
            types=["csv", "parquet", "json"],
            label="Labels from the Review page, cleanlab or Label Studio (JSON)",
            example="/data/corrected.parquet",
        )
        new = st.text_input("Name", free_name(f"{name}-corrected", datasets), key=f"corrections_name_{name}")
        if st.button("Load with these labels", key="corrections_load", disabled=not path):
            table = corrections_file(workspace, path, open_cached(workspace, name))
            added = add_dataset(workspace, new, with_corrections(read_spec(workspace, name), table))
            selection.remember("dataset", added)
            st.session_state["look_dataset"] = added
            st.rerun()
