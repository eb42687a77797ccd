"""The datasets of the workspace, one to look at, and the button that forgets it."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import remove_dataset
from fvm_core.errors import FVMError
from fvm_core.workspace import Workspace
from pages.ui.dataset_form import KINDS
from pages.ui.job_view import ERROR_KEY
from pages.ui.text import plain


def describe(spec: DatasetSpec) -> str:
    """Return one line of plain text: kind, file, columns, rows chosen.

    >>> describe(DatasetSpec("parquet", "/d/train.parquet", label="worse_label"))
    'Parquet file with the images inside · /d/train.parquet · labels worse_label'
    """
    parts = [KINDS.get(spec.kind, spec.kind), spec.path]
    parts += [f"labels {spec.label}"] if spec.label else []
    parts += ["only chosen rows"] if spec.include else []
    parts += ["without some rows"] if spec.exclude else []
    parts += ["with corrected labels"] if spec.corrections else []
    return " · ".join(part for part in parts if part)


def forget(workspace: Workspace, name: str) -> None:
    """Remove `name` from the list; what went wrong is kept for `show_error`."""
    try:
        remove_dataset(workspace, name)
    except FVMError as error:
        st.session_state[ERROR_KEY] = str(error)


def deletion(workspace: Workspace, name: str) -> None:
    """Draw the button that asks, then forgets."""
    with st.popover(":material/delete:", key=f"delete_dataset_{name}", help="Delete this dataset"):
        st.markdown(f"Takes **{plain(name)}** off the list. Its files, and scores made from it, stay.")
        st.button(
            "Delete this dataset",
            type="primary",
            key=f"confirm_dataset_{name}",
            on_click=forget,
            args=(workspace, name),
        )


def chooser(
    workspace: Workspace, datasets: Mapping[str, DatasetSpec], *, key: str, label: str, current: str | None
) -> str:
    """Draw the select box with the delete button beside it. Returns the name to look at."""
    names = list(datasets)
    if st.session_state.get(key) not in names:
        st.session_state[key] = current if current in names else names[0]
    with st.container(horizontal=True, vertical_alignment="bottom"):
        name = st.selectbox(label, names, key=key)
        deletion(workspace, name)
    st.caption(plain(describe(datasets[name])))
    return name
