"""Scoring jobs on the Score page: start one, and watch those at work."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.errors import shown
from pages.ui.links import link

STARTED = "score_jobs"


def start(workspace: Workspace, kind: str, args: dict[str, Any], title: str) -> bool:
    """Start a job of `kind` and remember it, so that this session sees it end.

    Returns whether it started; an error is shown."""
    with shown(stop=False):
        job = start_job(workspace, kind, args, title=title)
        st.session_state[STARTED] = [*st.session_state.get(STARTED, []), job]
        return True
    return False


def progress(workspace: Workspace) -> None:
    """Draw scoring jobs that are at work, whoever started them, and those that this session started."""
    mine = st.session_state.get(STARTED, [])
    with shown(stop=False):
        jobs = [
            job for job in list_jobs(workspace) if job.kind in ("score", "snapshots") and (job.active or job.id in mine)
        ]
        if not jobs:
            return
        st.header("In progress" if any(job.active for job in jobs) else "Just ended", anchor="progress")
        for job in sorted(jobs, key=lambda job: job.created):
            with st.container(border=True):
                job_view.watch(workspace, job.id, key="score")
    if any(job.state == "done" for job in jobs):
        link("compare", "Compare the scores")
