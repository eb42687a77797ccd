"""Start, resume and delete jobs. A job's worker is a process of its own that outlives the app."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import fvm_core
from fvm_core.errors import JobError, StorageError
from fvm_core.jobs.control import write_request
from fvm_core.jobs.echo import Echo
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.folder import JobFolder, open_folder, prepare_folder, publish_folder
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.status import JobStatus, StatusWriter, folder_status, read_status
from fvm_core.jobs.worker import fresh_status, work
from fvm_core.workspace import Workspace

ROOT = Path(fvm_core.__file__).resolve().parents[1]
PATIENCE = 2.0


def start_job(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
    """Start a job in a process of its own and return its id at once; the job is `queued` until its worker runs.

    The lock is taken here and handed down, so there is no moment in which the job looks dead or could start twice.

    Raises:
        JobError: unknown kind, or the process could not be started.
        StorageError: the disk refused.
    """
    folder, lock = _create(workspace, kind, args, title)
    _spawn(folder, lock)
    return folder.id


def run_job(
    workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "", foreground: bool = True
) -> JobStatus:
    """Run a job in this process, telling its progress on stderr; return its last status (state done or stopped).

    Ctrl-C saves the state and stops it; the job then can be resumed here or in the app. With `foreground` False the
    job is started as by `start_job` and its first status is returned.

    Raises:
        FVMError: what the work raised. Other exceptions of the work come through too.
    """
    if not foreground:
        return folder_status(open_folder(workspace, start_job(workspace, kind, args, title=title)))
    folder, lock = _create(workspace, kind, args, title)
    outcome = work(folder, lock, echo=Echo())
    if outcome.error:
        raise outcome.error
    return outcome.status


def resume_job(workspace: Workspace, job_id: str) -> None:
    """Start the worker of a stopped, failed or interrupted job again; it goes on from its last saved state.

    Raises:
        JobError: the job is active or done, or its folder is damaged.
    """
    folder = open_folder(workspace, job_id)
    spec = folder.read_spec()
    lock = _lock_idle(folder, "resumed")
    try:
        status = read_status(folder) or fresh_status(spec)
        if status.state == "done":
            raise JobError(f"Job `{job_id}` is done and cannot be resumed. Start a new job.")
        write_request(folder, "run")
        fresh = replace(status, state="queued", error="", result=None, seconds_left=None)
        StatusWriter(folder, fresh).update(now=True)
    except BaseException:
        lock.release()
        raise
    _spawn(folder, lock)


def claim_job(
    workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = ""
) -> tuple[JobFolder, FileLock, bool]:
    """Return the folder and lock of the newest resumable job with these very arguments, else of a new one; and whether
    it is an old one. For a command that a launcher starts again after a worker was lost.

    Raises:
        JobError: unknown kind.
        StorageError: the disk refused.
    """
    wanted = json.loads(json.dumps(args))
    for status in find_jobs(workspace, kind, **wanted):
        folder = open_folder(workspace, status.id)
        if status.resumable and folder.read_spec().args == wanted:
            lock = _lock_idle(folder, "resumed")
            write_request(folder, "run")
            return folder, lock, True
    return *_create(workspace, kind, args, title), False


def delete_job(workspace: Workspace, job_id: str) -> None:
    """Remove a job's folder with all it kept; models and scores that it made elsewhere stay.

    Raises:
        JobError: the job is active.
    """
    folder = open_folder(workspace, job_id)
    lock = _lock_idle(folder, "deleted")
    try:
        hidden = folder.root.with_name(f".deleted-{folder.id}")
        os.rename(folder.root, hidden)
        shutil.rmtree(hidden, ignore_errors=True)
    finally:
        lock.release()


def wait_job(workspace: Workspace, job_id: str, *, timeout: float, poll: float = 0.1) -> JobStatus:
    """Return the status once no worker is at the job any more, or as it is after `timeout` seconds."""
    folder, until = open_folder(workspace, job_id), time.monotonic() + timeout
    while (status := folder_status(folder)).active and time.monotonic() < until:
        time.sleep(poll)
    return status


def _create(workspace: Workspace, kind: str, args: dict[str, Any], title: str) -> tuple[JobFolder, FileLock]:
    hidden = prepare_folder(workspace, kind, args, title=title)
    lock = None
    try:
        lock = FileLock.acquire(hidden.lock)
        assert lock is not None, "nobody else knows the folder yet"
        write_request(hidden, "run")
        StatusWriter(hidden, fresh_status(hidden.read_spec())).update(now=True)
        return publish_folder(hidden), lock
    except BaseException as error:
        if lock:
            lock.release()
        shutil.rmtree(hidden.root, ignore_errors=True)
        if isinstance(error, OSError):
            raise StorageError(f"`{workspace.jobs}` could not be written ({error}). Free disk space.") from error
        raise


def _lock_idle(folder: JobFolder, participle: str) -> FileLock:
    """Return the lock of a job that no worker has; one that has just ended gets a moment to free it."""
    status = folder_status(folder)
    lock = None if status.active else FileLock.acquire(folder.lock, patience=PATIENCE)
    if lock is None:
        state = folder_status(folder).state
        raise JobError(f"Job `{folder.id}` is {state} and cannot be {participle}. Stop it first.")
    return lock


def _spawn(folder: JobFolder, lock: FileLock) -> None:
    """Start the detached worker and hand it the lock; our copy is closed whatever happens."""
    environment = os.environ | {"FVM_STUDIO_HOME": str(folder.workspace.root), "PYTHONUNBUFFERED": "1"}
    environment["PYTHONPATH"] = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    command = [sys.executable, "-P", "-m", "fvm_core", "job", str(folder.root), "--lock", str(lock.descriptor)]
    try:
        with folder.log.open("ab") as log:
            process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=[lock.descriptor],
            )
    except OSError as error:
        message = f"The worker of job `{folder.id}` could not be started ({error}). Try to resume it."
        status = read_status(folder) or fresh_status(folder.read_spec())
        StatusWriter(folder, replace(status, state="failed", error=message)).update(now=True)
        raise JobError(message) from error
    finally:
        lock.let_go()
    threading.Thread(target=process.wait, name=f"reap {folder.id}", daemon=True).start()
