"""How a job stands: what its worker last wrote, corrected by whether the worker still lives."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from fvm_core.errors import DataError, JobError
from fvm_core.files import read_json, write_json
from fvm_core.jobs.folder import JobFolder, all_folders, open_folder
from fvm_core.jobs.lock import is_locked
from fvm_core.workspace import Workspace

ACTIVE = ("queued", "running", "paused")
ENDED = ("stopped", "failed", "done")
RESUMABLE = ("stopped", "failed", "interrupted")


@dataclass(frozen=True)
class JobStatus:
    """State: queued, running, paused (active), stopped, failed, done (ended), or interrupted (its worker died).

    `done`/`total`: units of work (total 0: not known yet). `seconds_left`: None until the speed is known; pauses do not
    count. `created`, `started`, `updated`: seconds since the epoch (UTC); `started` is None before the first run and
    `updated` is the time of the last word of the worker, so the end of an ended job. `request`: what the person last
    asked of an active job (run, pause, stop); it may not have been obeyed yet. `worked`: seconds spent on the work over
    all its runs, without queueing, pauses and the time it lay idle.
    """

    id: str
    kind: str
    title: str
    state: str
    done: int = 0
    total: int = 0
    message: str = ""
    seconds_left: float | None = None
    error: str = ""
    result: dict[str, Any] | None = None
    created: float = 0.0
    started: float | None = None
    updated: float = 0.0
    request: str = "run"
    worked: float = 0.0

    @property
    def active(self) -> bool:
        """Whether a worker is at it."""
        return self.state in ACTIVE

    @property
    def resumable(self) -> bool:
        """Whether `resume_job` would take it up."""
        return self.state in RESUMABLE

    @property
    def fraction(self) -> float:
        """Share of the work done, 0 to 1 (0 while the total is unknown)."""
        return min(1.0, max(0.0, self.done / self.total)) if self.total > 0 else 0.0

    @property
    def percent(self) -> int:
        """The share in whole percent, 100 only at the end."""
        return min(100, max(0, 100 * self.done // self.total)) if self.total > 0 else 0


class StatusWriter:
    """Holds the status of the job that this process works on, and writes it at most once in `interval` seconds."""

    def __init__(
        self,
        folder: JobFolder,
        status: JobStatus,
        *,
        interval: float = 1.0,
        echo: Callable[[JobStatus], None] | None = None,
    ) -> None:
        self.folder = folder
        self.status = status
        self.interval = interval
        self.echo = echo
        self._written = float("-inf")
        self._touched = time.monotonic()

    def update(self, *, now: bool, **changes: Any) -> None:
        """Change fields; write at once if `now`, else only when the last write is `interval` old.

        Raises:
            StorageError: the disk refused; the earlier status.json is untouched.
        """
        moment = time.monotonic()
        worked = self.status.worked + (moment - self._touched if self.status.state == "running" else 0.0)
        self._touched = moment
        self.status = replace(self.status, updated=time.time(), worked=worked, **changes)
        if now or moment - self._written >= self.interval:
            write_json(self.folder.status, {k: v for k, v in asdict(self.status).items() if k != "request"})
            self._written = moment
            if self.echo:
                self.echo(self.status)


def read_status(folder: JobFolder) -> JobStatus | None:
    """Return status.json as the worker last wrote it, or None if it is missing or damaged."""
    try:
        values = read_json(folder.status, what="the job's status")
        known = {field.name for field in fields(JobStatus)}
        status = JobStatus(**{key: value for key, value in values.items() if key in known})
    except (DataError, TypeError, AttributeError):
        return None
    return status if _sound(status) and status.id == folder.id else None


def _sound(status: JobStatus) -> bool:
    texts = (status.id, status.kind, status.title, status.message, status.error)
    numbers = (status.created, status.updated, status.worked, status.started or 0, status.seconds_left or 0)
    return (
        status.state in ACTIVE + ENDED
        and type(status.done) is int
        and type(status.total) is int
        and all(type(text) is str for text in texts)
        and all(type(number) in (int, float) for number in numbers)
    )


def read_request(folder: JobFolder) -> str:
    """Return the word in the control file: run, pause or stop. Missing or damaged means run."""
    try:
        word = folder.control.read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return "run"
    return word if word in ("run", "pause", "stop") else "run"


def folder_status(folder: JobFolder) -> JobStatus:
    """Return how the job in a folder stands; see `job_status`."""
    alive, status = is_locked(folder.lock), read_status(folder)
    for _ in range(10):
        if alive or (status and status.state in ENDED):
            break
        before = status
        alive, status = is_locked(folder.lock), read_status(folder)
        if not alive and status == before:
            break
    if status is None:
        status = _status_without_file(folder)
    if alive:
        request = read_request(folder) if status.active else "run"
        return replace(status, request=request)
    return status if status.state in ENDED else _interrupted(folder, status)


def job_status(workspace: Workspace, job_id: str) -> JobStatus:
    """Return how a job stands.

    After `kill -9` the pid may look alive and status.json still says running: only the lock tells.

    Raises:
        JobError: no such job.
    """
    return folder_status(open_folder(workspace, job_id))


def list_jobs(workspace: Workspace) -> list[JobStatus]:
    """Return all jobs, the newest first; a job whose folder is damaged is listed as failed with the reason."""
    found = [(folder, folder_status(folder)) for folder in all_folders(workspace)]
    return [status for folder, status in found if folder.root.is_dir()]


def _status_without_file(folder: JobFolder) -> JobStatus:
    try:
        spec = folder.read_spec()
    except JobError as error:
        kind = folder.id.split("-")[3] if folder.id.count("-") == 4 else "unknown"
        return JobStatus(folder.id, kind, folder.id, "failed", error=str(error))
    return JobStatus(folder.id, spec.kind, spec.title, "running", created=spec.created, updated=spec.created)


def _interrupted(folder: JobFolder, status: JobStatus) -> JobStatus:
    error = (
        "The job's process ended without a word (killed, out of memory, or the machine restarted). "
        "Resume it to go on from its last saved state."
    )
    last = _last_line(folder)
    if last and not last.startswith(f"{status.title}: "):
        error += f" Last line of its log: {last}"
    return replace(status, state="interrupted", seconds_left=None, error=error)


def _last_line(folder: JobFolder) -> str:
    try:
        with folder.log.open("rb") as file:
            file.seek(0, 2)
            file.seek(max(0, file.tell() - 4096))
            lines = file.read().decode("utf-8", "replace").strip().splitlines()
    except OSError:
        return ""
    return lines[-1].strip()[:300] if lines else ""
