"""Downloads of CIFAR's images: started by the Load page, done by a job, and their dataset taken into use at the end."""

from __future__ import annotations

from collections.abc import Collection

import streamlit as st

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.download_job import without_wish
from fvm_core.data.registry import check_name
from fvm_core.errors import JobError
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.launch import delete_job, start_job
from fvm_core.jobs.status import JobStatus
from fvm_core.workspace import Workspace
from pages.ui import job_view, selection
from pages.ui.dataset_form import KINDS
from pages.ui.text import plain
from pages.ui.times import ago

STARTED = "downloads"


def start(workspace: Workspace, name: str, spec: DatasetSpec, *, role: str) -> None:
    """Start the job that fetches the images of `spec` and adds it as `name`; this session takes it into use as `role`.

    Raises:
        DataError: the name is taken.
        JobError, StorageError: the job cannot be started.
    """
    spec = without_wish(spec)
    key = check_name(workspace, name, spec)
    title = f"Download {KINDS[spec.kind]} as {key}"
    job = start_job(workspace, "download", {"name": key, "spec": spec.to_json()}, title=title)
    st.session_state.setdefault(STARTED, {})[job] = role


def take_into_use(workspace: Workspace, names: Collection[str], *, role: str) -> None:
    """Choose the dataset of a download that this session started for `role` and that is done by now.

    Call it before the select boxes of the role are drawn.
    """
    mine = st.session_state.get(STARTED, {})
    for job in find_jobs(workspace, "download"):
        if mine.get(job.id) == role and job.state == "done":
            added = str((job.result or {}).get("dataset", ""))
            if added in names:
                del mine[job.id]
                selection.remember(role, added)
                st.session_state[f"look_{role}"] = added


def unfinished(workspace: Workspace, names: Collection[str]) -> None:
    """Draw the downloads that run, and those that ended without their dataset, whoever started them."""
    for job in find_jobs(workspace, "download"):
        if job.state == "done" or (not job.active and _name(workspace, job) in names):
            continue
        with st.container(border=True):
            status = job_view.watch(workspace, job.id, key="download")
            if status.state == "done":
                st.rerun()
            if not status.active:
                st.button(
                    "Forget this download", icon=":material/delete:", key=f"forget_{job.id}", type="tertiary",
                    on_click=job_view.steer, args=(delete_job, workspace, job.id),
                )  # fmt: skip


def downloaded(workspace: Workspace, dataset: LabeledImages) -> None:
    """Say when the images of this very dataset were downloaded, if a job of this workspace did it."""
    for job in find_jobs(workspace, "download"):
        result = job.result or {}
        if job.state == "done" and result.get("fingerprint") == dataset.fingerprint:
            st.caption(f":material/download_done: Images downloaded {ago(job.updated)} to {plain(result['folder'])}")
            return


def _name(workspace: Workspace, job: JobStatus) -> str:
    try:
        return str(open_folder(workspace, job.id).read_spec().args.get("name", ""))
    except JobError:
        return ""
