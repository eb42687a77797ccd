"""What a loaded dataset looks like: its size, its classes and some of its images."""

from __future__ import annotations

import base64

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.data.dataset import UNKNOWN, LabeledImages
from fvm_core.data.images import thumbnail_png
from fvm_core.errors import DataError
from pages.ui.text import plain
from pages.ui.theme import CLEAN, MISLABELED, NEUTRAL

SHOWN_CLASSES = 20
SAMPLES = 12


def class_counts(dataset: LabeledImages) -> pd.DataFrame:
    """Return one row a class: name, count of given labels, and how many of them are wrong (0 without any truth)."""
    counts = np.bincount(dataset.labels, minlength=dataset.num_classes)
    mislabeled = dataset.mislabeled()
    wrong = np.zeros_like(counts)
    if mislabeled is not None:
        wrong = np.bincount(dataset.labels[mislabeled], minlength=dataset.num_classes)
    return pd.DataFrame({"class": list(dataset.class_names), "given": counts, "wrong": wrong})


def class_chart(dataset: LabeledImages) -> go.Figure:
    """Return bars of the given labels by class; where the truth is known the wrong ones are set apart."""
    table = class_counts(dataset)
    if len(table) > SHOWN_CLASSES:
        table = table.sort_values("given", ascending=False).head(SHOWN_CLASSES)
    names = [_axis_text(name) for name in table["class"]]
    known = dataset.mislabeled() is not None
    right = table["given"] - table["wrong"]
    figure = go.Figure(
        go.Bar(x=names, y=right, name="right label" if known else "samples", marker_color=CLEAN if known else NEUTRAL)
    )
    if known and table["wrong"].any():
        figure.add_bar(x=names, y=table["wrong"], name="wrong label", marker_color=MISLABELED)
    figure.update_layout(
        barmode="stack", height=230, margin={"l": 8, "r": 8, "t": 30, "b": 8}, xaxis_type="category",
        legend={"orientation": "h", "y": 1.02, "yanchor": "bottom", "x": 0}, showlegend=known,
        yaxis_title="samples",
    )  # fmt: skip
    return figure


def figures_row(dataset: LabeledImages) -> None:
    """Draw size, number of classes and, where the truth is known, the share of wrong labels."""
    a, b, c = st.columns(3)
    a.metric("Samples", f"{len(dataset):,}", border=True)
    b.metric("Classes", f"{dataset.num_classes:,}", border=True)
    mislabeled = dataset.mislabeled()
    if mislabeled is None:
        c.metric("Wrong labels", "unknown", border=True, help="No column with true labels was given.")
    else:
        c.metric(
            "Wrong labels", f"{mislabeled.mean():.1%}", border=True,
            help=f"{int(mislabeled.sum()):,} given labels differ from the known true ones.",
        )  # fmt: skip


def sample_images(dataset: LabeledImages, *, key: str) -> dict[int, str]:
    """Draw 12 random images with their labels. Returns index -> reason for those that cannot be read."""
    seed = st.session_state.get(f"{key}_seed", 0)
    chosen = np.random.default_rng(seed).choice(len(dataset), size=min(SAMPLES, len(dataset)), replace=False)
    broken: dict[int, str] = {}
    with st.container(horizontal=True, gap="small"):
        for index in chosen.tolist():
            try:
                st.image(thumbnail_png(dataset.read(index), side=96), caption=_caption(dataset, index), width=82)
            except DataError as error:
                broken[index] = str(error)
                st.caption("unreadable", width=82, help=plain(dataset.ids[index]))
    return broken


def another_sample(dataset: LabeledImages, *, key: str) -> None:
    """Draw the button that shows other images, if there are more."""
    if len(dataset) > SAMPLES:
        st.button(
            "Other images", icon=":material/shuffle:", key=f"{key}_other", on_click=_reseed, args=(f"{key}_seed",)
        )


def notes(dataset: LabeledImages) -> None:
    """Draw what the reader wants the person to know."""
    for note in dataset.notes:
        st.caption(f":material/info: {plain(note)}")


def data_uri(dataset: LabeledImages, index: int, *, side: int = 64) -> str:
    """Return a thumbnail as a data URI, or "" for an unreadable image."""
    try:
        png = thumbnail_png(dataset.read(index), side=side)
    except DataError:
        return ""
    return "data:image/png;base64," + base64.b64encode(png).decode()


def _caption(dataset: LabeledImages, index: int) -> str:
    given = plain(dataset.class_names[int(dataset.labels[index])], limit=24)
    if dataset.clean_labels is None or dataset.clean_labels[index] in (UNKNOWN, dataset.labels[index]):
        return given
    return f"~~{given}~~ {plain(dataset.class_names[int(dataset.clean_labels[index])], limit=24)}"


def _axis_text(name: str) -> str:
    """Plotly reads a little HTML in labels: take its marks away, and shorten."""
    short = name if len(name) <= 16 else name[:15] + "…"
    return short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")


def _reseed(key: str) -> None:
    st.session_state[key] = st.session_state.get(key, 0) + 1
