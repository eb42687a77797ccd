"""The one choice of scores that the Review, Map and Label noise pages share."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.influence.store import read_scores
from pages.ui.open_data import open_scored
from pages.ui.score_sets import FileKey, ScoreFile, by_fingerprint

FIRST = ("posterior", "influence")
"""Methods to begin with: the one that beat the plain baselines (README, "The honest question"), then the paper's."""
TUNED = ("fvm", "vm")
COLUMNS = ["id", "row", "label", "clean_label", "score", "suspicion", "suggested"]


def choose_scores(files: Sequence[ScoreFile]) -> ScoreFile:
    """Draw the choice of scores: what ranked best in our measurements first; with several datasets each label names
    its own."""
    several = len(by_fingerprint(files)) > 1
    order = sorted(files, key=lambda item: (item.role not in TUNED, *(item.method != key for key in FIRST), item.role))
    by_path = {item.path: item for item in order}

    def title(path: str) -> str:
        item = by_path[path]
        return f"{item.dataset} · {item.label}" if several else item.label

    if st.session_state.get("review_scores") not in by_path:
        st.session_state["review_scores"] = order[0].path
    return by_path[
        st.selectbox("Scores", list(by_path), format_func=title, key="review_scores", persist_state="session")
    ]


@st.cache_resource(max_entries=4, show_spinner="Reading the scores …")
def score_frame(key: FileKey) -> pd.DataFrame:
    """Return COLUMNS of a score file; shared between sessions, so never written to.

    Raises:
        DataError: the file is damaged.
    """
    return read_scores(key[0], columns=COLUMNS).frame


def scored_dataset(file: ScoreFile) -> LabeledImages:
    """Return the dataset that was scored. Raises DataError when it cannot be opened or has changed."""
    spec = DatasetSpec.from_json(file.provenance["dataset"]["spec"])
    return open_scored(spec, name=file.dataset, fingerprint=file.fingerprint)
