"""Jobs: everything that runs or ran, how far it is, and the buttons that steer it."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.launch import delete_job
from fvm_core.jobs.status import JobStatus, list_jobs
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import errors, job_view, links
from pages.ui.text import plain
from pages.ui.times import ago, duration

KINDS = {
    "train": "training", "tune": "tuning", "score": "scoring", "snapshots": "scores over snapshots",
    "import_model": "import of a checkpoint", "pipeline": "main job", "demo": "demo",
    "explain": "explanation", "overlap": "overlap check", "check_images": "check of all images",
    "download": "download of images", "reproduce": "experiment", "selftest": "self-test",
    "gen_pretrain": "pretraining", "gen_tune": "LoRA tuning", "gen_score": "scoring of pairs",
    "gen_ask": "question",
}  # fmt: skip
LOG_BYTES = 8000
PAGE_SIZE = 8


def table(jobs: list[JobStatus]) -> None:
    frame = pd.DataFrame(
        {
            "state": [status.state for status in jobs],
            "job": [status.title for status in jobs],
            "progress": [1.0 if status.state == "done" else status.fraction for status in jobs],
            "time left": [duration(status.seconds_left) if status.state == "running" else "" for status in jobs],
            "kind": [KINDS.get(status.kind, status.kind) for status in jobs],
            "message": [status.error or status.message for status in jobs],
            "started": [ago(status.started or status.created) for status in jobs],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        column_config={
            "state": st.column_config.TextColumn("State", width=85),
            "job": st.column_config.TextColumn("Job", width=270),
            "progress": st.column_config.ProgressColumn(
                "Progress", width=110, min_value=0, max_value=1, format="percent"
            ),
            "time left": st.column_config.TextColumn("Time left", width=95),
            "kind": st.column_config.TextColumn("Kind", width=165),
            "message": st.column_config.TextColumn("Says", width=235),
            "started": st.column_config.TextColumn("Started", width=110),
        },
    )


def log_tail(workspace: Workspace, job_id: str) -> str:
    """Return the end of a job's log, or "" if it has none."""
    path = open_folder(workspace, job_id).log
    if not path.exists():
        return ""
    with path.open("rb") as file:
        file.seek(0, 2)
        file.seek(max(0, file.tell() - LOG_BYTES))
        return file.read().decode("utf-8", "replace")


def card(workspace: Workspace, status: JobStatus) -> None:
    """Draw one job: live while it is active, with its details on demand and a button to delete it once it ended."""
    with st.container(border=True):
        job_view.watch(workspace, status.id, key="jobs")
        opened = st.expander(
            "Details and log", icon=":material/description:", key=f"details_{status.id}", on_change="rerun"
        )
        if opened.open:
            with opened:
                (live_details if status.active else details)(workspace, status)
        if not status.active:
            with st.popover("Delete", icon=":material/delete:", key=f"delete_{status.id}"):
                st.markdown("Deletes the job's folder with its log and saved state. Models and scores it made stay.")
                st.button(
                    "Delete this job", key=f"confirm_{status.id}", type="primary", on_click=job_view.steer,
                    args=(delete_job, workspace, status.id),
                )  # fmt: skip


def details(workspace: Workspace, status: JobStatus) -> None:
    st.caption(plain(f"{KINDS.get(status.kind, status.kind)} · {status.id}"))
    try:
        st.json(open_folder(workspace, status.id).read_spec().args, expanded=1)
    except FVMError:
        st.caption("What was asked cannot be read any more.")
    text = log_tail(workspace, status.id)
    st.code(text or "The log is empty.", language=None, height=220 if text else "content")


@st.fragment(run_every=2)
def live_details(workspace: Workspace, status: JobStatus) -> None:
    with st.container(key=f"live_details_{status.id}"):
        details(workspace, status)


@st.fragment(run_every=1)
def live_table(workspace: Workspace) -> None:
    with st.container(key="live_table"):
        table(list_jobs(workspace))


def listing(workspace: Workspace, jobs: list[JobStatus]) -> None:
    job_view.show_error()
    if any(status.active for status in jobs):
        live_table(workspace)
    else:
        table(jobs)
    first = 0
    if len(jobs) > PAGE_SIZE:
        first = (st.pagination(-(-len(jobs) // PAGE_SIZE), key="jobs_page") - 1) * PAGE_SIZE
    for status in jobs[first : first + PAGE_SIZE]:
        card(workspace, status)


def main() -> None:
    workspace = current_workspace()
    st.title("Jobs")
    st.markdown(
        "Long work runs in processes of its own: it goes on when you close the browser, and can be paused, stopped "
        "and resumed. An **interrupted** job lost its process (killed, out of memory, restart of the machine); Resume "
        "takes it up at its last saved state and ends with the very result of a run without the break."
    )
    with errors.shown():
        jobs = list_jobs(workspace)
        if not jobs:
            st.info("No job has run yet. Start with the demo, or load your own data.", icon=":material/info:")
            links.link("home", "Try the demo")
            links.link("load", "Load your data")
        else:
            listing(workspace, jobs)


main()
