"""The button for the HTML report of a review, and the report's download."""

from __future__ import annotations

from datetime import UTC, datetime

import streamlit as st

from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.launch import start_job
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.errors import shown
from pages.ui.export_forms import result
from pages.ui.read_only import links_part
from pages.ui.score_sets import ScoreFile


def report_part(workspace: Workspace, session: ReviewSession, file: ScoreFile) -> None:
    """Draw how many images the report shows, the button, and the last report of this review."""
    st.markdown(
        "One HTML file for people who were not there: figures, flagged images with decisions, provenance, and what it "
        "does not tell. It needs no network and runs in any browser."
    )
    left, right = st.columns([3, 1], vertical_alignment="bottom")
    most = left.slider("Images shown", 10, 500, 60, 10, key="report_flagged", persist_state="session")
    title = f"Report {session.dataset}, {session.name}"
    with shown(stop=False):
        if right.button("Write report", icon=":material/description:", key="report_start", width="stretch"):
            time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            args = {
                "scores": f"{file.run}/{file.method}", "session": session.id, "flagged": most,
                "name": f"report-{session.dataset[:24]}-{time}",
            }  # fmt: skip
            start_job(workspace, "report", args, title=title)
        found = [one for one in find_jobs(workspace, "report") if one.title == title]
        if found:
            status = job_view.watch(workspace, found[0].id, key="report")
            result(status)
            if status.state == "done" and status.result:
                links_part(workspace, str(status.result["path"]))
