"""The generation part's jobs where they were started: running ones live, and the last that did not end well."""

from __future__ import annotations

import streamlit as st

from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace
from pages.ui import job_view


def running(workspace: Workspace, *kinds: str) -> None:
    """Draw the jobs of these kinds that run or wait, and the newest one if it can be resumed."""
    jobs = [status for status in list_jobs(workspace) if status.kind in kinds]
    for status in [*filter(lambda one: one.active, jobs), *[one for one in jobs[:1] if one.resumable]]:
        with st.container(border=True):
            job_view.watch(workspace, status.id, key="generation")
