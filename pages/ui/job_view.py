"""How a job is shown: its state, its bar, what it says, and the buttons that steer it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.jobs.control import pause_job, stop_job, unpause_job
from fvm_core.jobs.launch import resume_job, start_job
from fvm_core.jobs.status import JobStatus, job_status
from fvm_core.workspace import Workspace
from pages.ui.text import message, plain
from pages.ui.times import ago, duration

ERROR_KEY = "job_error"
BADGES = {
    "queued": ("gray", ":material/hourglass_empty:", "queued"),
    "running": ("blue", ":material/play_arrow:", "running"),
    "paused": ("yellow", ":material/pause:", "paused"),
    "stopped": ("gray", ":material/stop:", "stopped"),
    "failed": ("red", ":material/error:", "failed"),
    "done": ("green", ":material/check:", "done"),
    "interrupted": ("orange", ":material/power_off:", "interrupted"),
}
PENDING = {"pause": "pausing at the next step", "stop": "stopping at the next step"}


def badge(status: JobStatus) -> None:
    """Draw the state as a coloured word with an icon."""
    colour, icon, word = BADGES.get(status.state, ("gray", ":material/help:", status.state))
    st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]


def summary(status: JobStatus) -> str:
    """Return one line of plain text: what the job does, how far it is, how long it still takes."""
    parts = [status.message or ("starting …" if status.active and not status.total else "")]
    if status.total and status.state != "done" and str(status.total) not in status.message.replace(",", ""):
        parts.append(f"{status.percent} %")
    if status.state == "running" and status.seconds_left is not None:
        parts.append(f"{duration(status.seconds_left)} left")
    if status.active and status.request in PENDING and (status.request, status.state) != ("pause", "paused"):
        parts.append(PENDING[status.request])
    if not status.active and status.started is not None:
        parts.append(f"ran {duration(status.worked)}, ended {ago(status.updated)}")
    return " · ".join(part for part in parts if part)


def steer(action: Callable[[Workspace, str], object], workspace: Workspace, job_id: str) -> None:
    """Carry out a button's action; what went wrong is kept for `show_error`."""
    try:
        action(workspace, job_id)
    except FVMError as error:
        st.session_state[ERROR_KEY] = str(error)


def start(workspace: Workspace, kind: str, args: dict[str, Any], title: str) -> None:
    """Start a job, as a button's callback; why it could not start is kept for `show_error`, where the job would be."""
    try:
        start_job(workspace, kind, args, title=title)
    except FVMError as error:
        st.session_state[ERROR_KEY] = str(error)


def show_error() -> None:
    """Show, once, why the last button did not work."""
    if text := st.session_state.pop(ERROR_KEY, ""):
        st.error(message(text), icon=":material/error:")


def controls(workspace: Workspace, status: JobStatus, *, key: str) -> None:
    """Draw pause or continue, stop and resume, whichever the state allows."""

    def button(label: str, icon: str, action: Callable[[Workspace, str], object], help: str) -> None:
        st.button(
            label, icon=icon, key=f"{key}_{label.lower()}_{status.id}", help=help, on_click=steer,
            args=(action, workspace, status.id),
        )  # fmt: skip

    if status.active:
        if status.state == "paused" or status.request == "pause":
            button("Continue", ":material/play_arrow:", unpause_job, "Go on where it waits")
        elif status.request != "stop":
            button("Pause", ":material/pause:", pause_job, "Wait at the next step; the process stays")
        if status.request != "stop":
            button("Stop", ":material/stop:", stop_job, "Save the state and end; it can be resumed later")
    elif status.resumable:
        button("Resume", ":material/restart_alt:", resume_job, "Go on from the last saved state")


def draw(workspace: Workspace, status: JobStatus, *, key: str, steering: bool = True) -> None:
    """Draw one job: title and state, bar, summary, error, buttons."""
    with st.container(horizontal=True, vertical_alignment="center", gap="small"):
        st.markdown(f"**{plain(status.title)}**", width="content")
        badge(status)
        st.space("stretch")
        if steering:
            controls(workspace, status, key=key)
    if status.active or 0 < status.fraction < 1:
        st.progress(status.fraction, text=plain(summary(status)))
    elif text := summary(status):
        st.caption(plain(text))
    if not status.active and status.error:
        (st.error if status.state == "failed" else st.warning)(message(status.error))


@st.fragment(run_every=1)
def _live(workspace: Workspace, job_id: str, key: str) -> None:
    status = job_status(workspace, job_id)
    with st.container(key=f"live_{key}_{job_id}"):
        show_error()
        draw(workspace, status, key=key)
    if not status.active:
        st.rerun()


def watch(workspace: Workspace, job_id: str, *, key: str, steering: bool = True) -> JobStatus:
    """Draw a job, live while it is active; the page runs again, once, when it ends. Returns how it stood.

    Raises:
        JobError: no such job.
    """
    status = job_status(workspace, job_id)
    if status.active:
        _live(workspace, job_id, key)
    else:
        show_error()
        draw(workspace, status, key=key, steering=steering)
    return status
