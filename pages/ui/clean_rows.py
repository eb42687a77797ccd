"""A clean validation set out of the training set itself: the rows that a person knows or marks as clean."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, read_spec
from fvm_core.errors import DataError
from fvm_core.workspace import Workspace
from pages.ui import errors, selection
from pages.ui.dataset_view import data_uri
from pages.ui.open_data import open_cached
from pages.ui.tune_form import free_name
from pages.ui.upload import keep_text

MOST = 300
FRAME = "marking_frame"


def rows_form(workspace: Workspace, datasets: dict[str, DatasetSpec]) -> None:
    """Draw the two ways to say which rows of the training set are clean, and the button that splits them off."""
    names = list(datasets)
    start = names.index(current) if (current := selection.selected("dataset")) in names else 0
    with errors.shown(stop=False):
        name = st.selectbox("Rows of", names, index=start, key="rows_of")
        ways = {"mark": "Look at a sample and tick", "ids": "Enter ids"}
        how = st.radio("How", list(ways), format_func=ways.__getitem__, key="rows_how", horizontal=True)
        dataset = open_cached(workspace, name)
        ids = marked_ids(dataset, name=name) if how == "mark" else typed_ids()
        clean = st.text_input("Name of the clean set", free_name(f"{name}-clean", datasets), key=f"rows_clean_{name}")
        rest = st.text_input("Name of the others", free_name(f"{name}-rest", datasets), key=f"rows_rest_{name}")
        if st.button(f"Split off {len(ids):,} clean rows", type="primary", key="rows_split", disabled=not ids):
            first, second = split_off(workspace, name, ids, clean=clean, rest=rest)
            for role, made in (("validation", first), ("dataset", second)):
                selection.remember(role, made)
                st.session_state[f"look_{role}"] = made
            st.rerun()


def split_off(workspace: Workspace, name: str, ids: Iterable[str], *, clean: str, rest: str) -> tuple[str, str]:
    """Make two datasets out of `name`: `clean` with the rows `ids`, `rest` with all the others. Returns their names.

    Raises:
        DataError: no ids, ids that `name` does not have, or a name that is taken.
        StorageError: the disk refused.
    """
    chosen = list(dict.fromkeys(ids))
    if not chosen:
        raise DataError("`ids` must hold at least one sample id, got none. Mark rows as clean or enter their ids.")
    spec = read_spec(workspace, name)
    included = keep_text(workspace, "".join(f"{one}\n" for one in chosen), prefix="ids")
    first = add_dataset(workspace, clean, replace(spec, include=str(included)))
    return first, add_dataset(workspace, rest, without(spec, workspace, chosen))


def without(spec: DatasetSpec, workspace: Workspace, ids: Iterable[str]) -> DatasetSpec:
    """Return `spec` with the rows `ids` left out, on top of what it leaves out already. Raises StorageError."""
    already = Path(spec.exclude).read_text(encoding="utf-8-sig").split("\n") if spec.exclude else []
    lines = dict.fromkeys([*(line.strip() for line in already if line.strip()), *ids])
    return replace(spec, exclude=str(keep_text(workspace, "".join(f"{one}\n" for one in lines), prefix="ids")))


def ids_in(text: str) -> list[str]:
    """Return the ids in a text: one a line, or separated by commas when it is a single line.

    >>> ids_in("a-1, a-2"), ids_in("a,1\\nb,2\\n")
    (['a-1', 'a-2'], ['a,1', 'b,2'])
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if len(lines) == 1:
        lines = [part.strip() for part in lines[0].split(",") if part.strip()]
    return lines


def typed_ids() -> list[str]:
    """Draw the text area and the upload for a list of ids. Returns the ids."""
    text = st.text_area(
        "Ids of the clean rows, one a line", key="clean_ids", height=140, persist_state="session",
        placeholder="train-00017\ntrain-00042\n…",
    )  # fmt: skip
    upload = st.file_uploader("or a text file with them", type=["txt", "csv"], key="clean_ids_file")
    if upload is not None:
        try:
            text += "\n" + upload.getvalue().decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise DataError(f"`ids` must be a text file with one id a line, got other bytes ({error}).") from error
    return ids_in(text)


def marked_ids(dataset: LabeledImages, *, name: str) -> list[str]:
    """Draw a random sample of the rows as a table of images with a box to tick each. Returns the ticked ids."""
    a, b = st.columns([3, 2], vertical_alignment="bottom")
    most = min(MOST, len(dataset))
    size = a.slider(
        "Rows to look at", min(10, most), max(most, 11), min(100, most), 10, key="marking_size",
        help=f"A random sample: {100 / max(len(dataset), 1):.2%} of the rows for each 100.",
    )  # fmt: skip
    kept = st.session_state.get(FRAME)
    if b.button("Draw a sample", icon=":material/casino:", key="marking_draw", width="stretch"):
        seed = kept[1] + 1 if kept and kept[0] == name else 0
        kept = st.session_state[FRAME] = (name, seed, sample(dataset, min(size, len(dataset)), seed=seed))
    if not kept or kept[0] != name:
        st.caption("Draw a sample, then tick the rows whose label you see to be right.")
        return []
    edited = st.data_editor(
        kept[2],
        hide_index=True,
        height=420,
        row_height=72,
        disabled=["image", "label", "id"],
        key=f"marking_{name}_{kept[1]}",
        column_config={
            "right": st.column_config.CheckboxColumn("Label is right", width="small"),
            "image": st.column_config.ImageColumn("Image", width="small"),
            "label": st.column_config.TextColumn("Given label"),
            "id": st.column_config.TextColumn("Id"),
        },
    )
    return [str(one) for one in edited.loc[edited["right"].astype(bool), "id"]]


def sample(dataset: LabeledImages, size: int, *, seed: int) -> pd.DataFrame:
    """Return `size` random rows in the dataset's order: right (False), image (data URI), label, id."""
    chosen = np.sort(np.random.default_rng(seed).choice(len(dataset), size=size, replace=False))
    return pd.DataFrame(
        {
            "right": np.zeros(size, np.bool_),
            "image": [data_uri(dataset, int(index)) for index in chosen],
            "label": [dataset.class_names[int(dataset.labels[index])] for index in chosen],
            "id": [str(dataset.ids[index]) for index in chosen],
        }
    )
