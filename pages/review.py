"""Review page: flagged images in order of suspicion, one key for each decision, corrected labels to take home."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.influence.store import read_scores
from fvm_core.provenance import digest
from fvm_core.review.inbox import Known
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import current_workspace
from pages.ui import explain_panel, review_outlook
from pages.ui.errors import shown
from pages.ui.gallery import Shown, asked, gallery
from pages.ui.links import link
from pages.ui.open_data import open_scored
from pages.ui.review_export import export_section
from pages.ui.review_filters import choose_filter, frozen_queue
from pages.ui.review_session import choose_session
from pages.ui.score_sets import FileKey, ScoreFile, by_fingerprint, listed

EMPTY = ":material/fact_check:"
COLUMNS = ["id", "row", "label", "score", "suspicion", "suggested"]


# Methods to begin with: the one that beat the plain baselines (README, "The honest question"), then the paper's.
# A comment, because Streamlit draws a bare string of a page on the page.
FIRST = ("posterior", "influence")
TUNED = ("fvm", "vm")


def main() -> None:
    workspace = current_workspace()
    with shown():
        files, _ = listed(workspace)
    if not files:
        st.title("Review")
        st.info(
            "There are no scores yet: the review goes through images in order of suspicion.",
            icon=":material/fact_check:",
        )
        link("score", "Score a dataset")
        return
    title, choice, review = st.columns([1, 1.9, 3], vertical_alignment="bottom")
    title.title("Review")
    with choice:
        file = _choose(files)
    with shown():
        log = decision_log(workspace.review_url)
        dataset = _dataset(file)
    with review:
        session = choose_session(log, dataset=file.dataset, fingerprint=file.fingerprint)
    with shown():
        frame, rows = _frame(file.key)
        wanted, page_size = choose_filter(dataset.class_names, frame)
        decisions = log.replay(session.id).states()
        actions = {sample: state.action for sample, state in decisions.items()}
        order = frozen_queue(frame, wanted, actions, key=(session.id, *file.key, page_size))
    samples = _samples(dataset, dataset.fingerprint)
    queue = Shown(dataset, samples, frame, rows, file.path, file.run, file.method, order, page_size)
    known = Known(
        given=lambda sample: _given(dataset, samples, sample),
        classes=dataset.num_classes,
        runs={
            f"{item.run}/{item.method}": digest(dict(item.provenance))
            for item in files
            if item.fingerprint == file.fingerprint
        },
    )
    picked = asked()
    _gallery(log, session, queue, known, picked)
    explain_panel.draw(workspace, file, files, dataset, samples, frame, picked)
    review_outlook.draw(workspace, file, files, dataset, decisions, rows)
    export_section(workspace, log, session, dataset, frame, file.provenance, order.positions)


@st.fragment
def _gallery(log: DecisionLog, session: ReviewSession, queue: Shown, known: Known, picked: str | None) -> None:
    """Draw the gallery; the whole page runs again when another image than `picked` is to be explained."""
    with st.container(key="live_review"), shown():
        gallery(log, session, queue, known, reviewer=session.reviewer)
    if asked() != picked:
        st.rerun()


def _choose(files: Sequence[ScoreFile]) -> ScoreFile:
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


@st.cache_resource(max_entries=4)
def decision_log(url: str) -> DecisionLog:
    return DecisionLog(url)


@st.cache_resource(max_entries=8, show_spinner="Reading the scores …")
def _frame(key: FileKey) -> tuple[pd.DataFrame, pd.Index]:
    frame = read_scores(key[0], columns=COLUMNS).frame
    return frame, pd.Index(frame["id"])


def _dataset(file: ScoreFile) -> LabeledImages:
    spec = DatasetSpec.from_json(file.provenance["dataset"]["spec"])
    return open_scored(spec, name=file.dataset, fingerprint=file.fingerprint)


@st.cache_resource(max_entries=4, show_spinner=False)
def _samples(_dataset: LabeledImages, fingerprint: str) -> pd.Index:
    return pd.Index(_dataset.ids.tolist())


def _given(dataset: LabeledImages, samples: pd.Index, sample: str) -> int | None:
    """Return the given label of a sample, None for an id that the dataset does not have."""
    return int(dataset.labels[samples.get_loc(sample)]) if sample in samples else None


main()
