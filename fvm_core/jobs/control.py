"""What the person wants of a running job: one word in a file that the worker reads at each checkpoint."""

from __future__ import annotations

from fvm_core.errors import JobError
from fvm_core.files import atomic_write
from fvm_core.jobs.folder import JobFolder, open_folder
from fvm_core.jobs.status import JobStatus, folder_status
from fvm_core.workspace import Workspace

REQUESTS = ("run", "pause", "stop")


def write_request(folder: JobFolder, request: str) -> None:
    """Write the word that the worker obeys."""
    if request not in REQUESTS:
        raise JobError(f"`request` must be one of {', '.join(REQUESTS)}, got {request!r}.")
    with atomic_write(folder.control, "w", encoding="utf-8") as file:
        file.write(request + "\n")


def pause_job(workspace: Workspace, job_id: str) -> None:
    """Ask a running or queued job to wait where it is; it gives its slot to the next job meanwhile.

    Raises:
        JobError: the job is not active.
    """
    _ask(workspace, job_id, "pause", "paused")


def unpause_job(workspace: Workspace, job_id: str) -> None:
    """Let a paused job go on (it may have to wait for a slot). Also takes back a pause not yet obeyed.

    Raises:
        JobError: the job is not active.
    """
    _ask(workspace, job_id, "run", "continued")


def stop_job(workspace: Workspace, job_id: str) -> None:
    """Ask an active job to save its state and end; `resume_job` takes it up again.

    Raises:
        JobError: the job is not active.
    """
    _ask(workspace, job_id, "stop", "stopped")


def _ask(workspace: Workspace, job_id: str, request: str, participle: str) -> None:
    folder = open_folder(workspace, job_id)
    status = folder_status(folder)
    if not status.active:
        raise JobError(
            f"Job `{job_id}` is {status.state}: only a running, queued or paused job can be {participle}. "
            f"{_remedy(status)}"
        )
    if status.request == "stop" and request != "stop":
        raise JobError(f"Job `{job_id}` is about to stop and cannot be {participle}. Resume it once it has stopped.")
    write_request(folder, request)


def _remedy(status: JobStatus) -> str:
    return "Start a new job." if status.state == "done" else "Resume it first."
