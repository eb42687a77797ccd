"""Taking the corrected labels home, or using them here as a dataset."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.influence.store import read_ids, read_scores
from fvm_core.provenance import digest
from fvm_core.review.export import Exported, corrected_labels, export_provenance, use_as_dataset, write_export
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui import review_import
from pages.ui.errors import shown
from pages.ui.export_forms import export_forms
from pages.ui.links import link
from pages.ui.report_part import report_part
from pages.ui.review_filters import shown_positions
from pages.ui.review_states import open_disputes
from pages.ui.score_sets import ScoreFile
from pages.ui.text import plain

TYPES = {".csv": "text/csv", ".parquet": "application/vnd.apache.parquet", ".json": "application/json"}


@st.fragment
def export_section(
    workspace: Workspace,
    log: DecisionLog,
    session: ReviewSession,
    dataset: LabeledImages,
    file: ScoreFile,
    reviewer: str,
) -> None:
    """Draw the buttons. Files go to the workspace's exports folder first; the browser may download them from there."""
    st.subheader("Take the labels home")
    st.markdown(
        "Every sample with its label after your review, who decided it and on which score. "
        "Samples without a decision keep their given label."
    )
    with shown(stop=False):
        if log.assignments(session.id).blind and (told := open_disputes(outcome_of(log, session.id))):
            st.warning(f"{told} Until then such images keep their given label; the column `outcome` says which.")

    provenance = file.provenance

    def write(name: str) -> Exported:
        scores = read_scores(file.path, columns=["id", "score", "suggested"]).frame
        outcome = outcome_of(log, session.id)
        frame = corrected_labels(
            dataset, outcome.states, scores=scores, method=str(provenance["method"]),
            score_provenance=digest(dict(provenance)), outcomes=outcome.kinds,
        )  # fmt: skip
        about = export_provenance(session, dataset, outcome.counts(len(dataset)), provenance, outcome=outcome)
        return write_export(workspace, name, frame, about)

    left, right = st.columns(2, gap="large")
    with left, shown(stop=False):
        if st.button("Write CSV and Parquet", type="primary", icon=":material/save:"):
            time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            st.session_state[f"review_exported_{session.id}"] = write(f"{session.dataset}-{session.name[:24]}-{time}")
        _downloads(st.session_state.get(f"review_exported_{session.id}"))
    with right, shown(stop=False):
        _use(workspace, session, dataset, write)
    with _closed("For other tools, with or without the images", "ios_share", "export_forms") as part:
        if part.open:
            export_forms(workspace, session, dataset, write, lambda: read_ids(file.path, shown_positions()))
    with _closed("Decisions from elsewhere into this review", "merge", "review_import_part") as part:
        if part.open:
            review_import.draw(log, session, dataset, reviewer)
    with _closed("A report for people who were not there", "description", "report") as part:
        if part.open:
            report_part(workspace, session, file)


def _closed(title: str, icon: str, key: str) -> Any:
    """Return a part whose contents are made and sent only while it is open, which it tells as `open`."""
    return st.expander(title, icon=f":material/{icon}:", key=key, on_change="rerun")


def _downloads(files: Exported | None) -> None:
    if files is None or not files.csv.exists():
        return
    st.success(f"Written to {plain(files.csv.parent)}", icon=":material/check:")
    with st.container(horizontal=True):
        for word, path in (("CSV", files.csv), ("Parquet", files.parquet), ("Provenance", files.provenance)):
            st.download_button(
                word, _reader(path), file_name=path.name, mime=TYPES[path.suffix], icon=":material/download:",
                on_click="ignore", help=f"Download {path.name}", key=f"review_download_{word}",
            )  # fmt: skip


def _reader(path: Path) -> Any:
    return lambda: path.read_bytes()


def _use(workspace: Workspace, session: ReviewSession, dataset: LabeledImages, write: Any) -> None:
    with st.form("review_use", border=False):
        name = st.text_input("Name of a dataset with these labels", value=f"{session.dataset}-corrected", max_chars=64)
        if not st.form_submit_button("Use as dataset", icon=":material/database:"):
            return
    made = use_as_dataset(workspace, name, dataset.spec, write)
    st.success(f"Dataset {plain(made)} is ready on every page.", icon=":material/check:")
    link("score", "Score it again")
