"""The log of a review as a file, and one from another workspace into this review."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.files import slug
from fvm_core.review.imports.decision_file import read_decisions
from fvm_core.review.imports.decisions import import_decisions
from fvm_core.review.imports.merge import merge_log
from fvm_core.review.log import DecisionLog
from fvm_core.review.log_file import is_log, log_table, read_log, write_log
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui.review_import import tell, uploaded
from pages.ui.text import plain


def draw(workspace: Workspace, log: DecisionLog, session: ReviewSession, dataset: LabeledImages, reviewer: str) -> None:
    """Draw the button that writes the log, and the upload that takes another one in."""
    if st.button("Write the log", icon=":material/save:", key="team_log_write"):
        time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
        path = workspace.exports / f"log-{slug(session.name)[:24]}-{time}.parquet"
        write_log(path, log_table(log, session))
        st.session_state["team_log_path"] = path
    written = st.session_state.get("team_log_path")
    if isinstance(written, Path) and written.exists():
        st.success(f"Every decision and undo: {plain(written)}", icon=":material/check:")
        st.download_button(
            "Download", written.read_bytes, file_name=written.name, on_click="ignore", key="team_log_file"
        )
    with st.form("team_log_import", border=False):
        file = st.file_uploader("Log of another workspace, or labels exported from a review", type=["parquet", "csv"])
        blind = st.checkbox("Made without knowing this review: differences go to an adjudicator", value=True)
        st.caption("Otherwise the imported decisions are the latest ones. A log that was taken in before adds nothing.")
        if not st.form_submit_button("Take it in", icon=":material/merge:") or file is None:
            return
    with uploaded(file) as path:
        if not is_log(path):
            taken = import_decisions(log, session.id, read_decisions(path, dataset), dataset, reviewer=reviewer)
            tell(str(file.name), taken)
            return
        frame = read_log(path)
    found = merge_log(log, session, frame, dataset, blind=blind, by=reviewer)
    st.success(
        f"{found.new:,} new, {found.known:,} known already; reviewers: {plain(', '.join(found.reviewers))}.",
        icon=":material/check:",
    )
