"""The generation part's jobs where they were started: running ones live, and the last that did not end well."""

from __future__ import annotations

import time

import streamlit as st

from fvm_core.jobs.status import JobStatus, list_jobs
from fvm_core.workspace import Workspace
from pages.ui import job_view

MINUTES = 5


def running(workspace: Workspace, *kinds: str) -> None:
    """Draw the jobs of these kinds that run or wait, and the newest one if it can be resumed; a question only for
    MINUTES after it ended."""
    jobs = [status for status in list_jobs(workspace) if status.kind in kinds]
    over = [one for one in jobs[:1] if one.resumable and (one.kind != "gen_ask" or _just_now(one))]
    for status in [*filter(lambda one: one.active, jobs), *over]:
        with st.container(border=True):
            job_view.watch(workspace, status.id, key="generation")


def _just_now(status: JobStatus) -> bool:
    return time.time() - status.updated < 60 * MINUTES
