"""Decisions from elsewhere into this review: a file, and what was taken, known already or refused."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.review.imports.decision_file import KINDS, read_decisions
from fvm_core.review.imports.decisions import Taken, import_decisions
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession
from pages.ui import chart
from pages.ui.errors import shown
from pages.ui.text import plain

SHOWN = 200


def draw(log: DecisionLog, session: ReviewSession, dataset: LabeledImages, reviewer: str) -> None:
    """Draw the upload, and below it what the last one came to."""
    st.markdown(
        "Decisions made elsewhere become decisions of this review, under your name: labels that a review exported "
        "(CSV, Parquet), Label Studio's JSON, cleanlab's issue table. The same file again adds nothing."
    )
    key = f"review_taken_{session.id}"
    with st.form("review_import", border=False):
        file = st.file_uploader("Decisions", type=list(KINDS), label_visibility="collapsed", key="review_import_file")
        st.caption("Where people work in the open, what you take in is the latest decision on an image.")
        pressed = st.form_submit_button("Take them in", icon=":material/merge:")
    with shown(stop=False):
        if pressed and file is not None:
            with uploaded(file) as path:
                taken = import_decisions(log, session.id, read_decisions(path, dataset), dataset, reviewer=reviewer)
            st.session_state[key] = (str(file.name), taken)
            st.rerun()
        if key in st.session_state:
            tell(*st.session_state[key])


@contextmanager
def uploaded(file: Any) -> Iterator[Path]:
    """Give the path of a copy of an uploaded file, under a name of ours; it is gone afterwards."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Path(folder) / f"file{Path(str(file.name)).suffix.lower()}"
        copy.write_bytes(file.getvalue())
        yield copy


def tell(name: str, taken: Taken) -> None:
    """Say what an import came to; refused rows with their reasons."""
    text = f"{plain(name)}: {taken.words}."
    if not taken.refused:
        st.success(text, icon=":material/check:")
        return
    st.warning(text, icon=":material/rule:")
    frame = pd.DataFrame([{"id": one.sample, "why": one.why} for one in taken.refused])
    st.dataframe(frame.head(SHOWN), hide_index=True)
    if len(frame) > SHOWN:
        st.caption(f"The first {SHOWN} of {len(frame):,}.")
    chart.csv_button(frame, name="refused-decisions")
