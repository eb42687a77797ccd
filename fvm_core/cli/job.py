"""`job FOLDER`: do the work of a job here. The app starts its workers with it; by hand it resumes a job in view."""

from __future__ import annotations

import argparse
import os
from pathlib import Path

from fvm_core.errors import FVMError, JobError
from fvm_core.jobs.echo import Echo
from fvm_core.jobs.folder import JobFolder
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.status import read_status
from fvm_core.jobs.worker import enter_working_folder, work
from fvm_core.workspace import Workspace

NICE = 5


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("job", help="run, or resume, the job in a folder", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="a folder below the workspace's jobs/")
    parser.add_argument("--lock", type=int, metavar="FD", help=argparse.SUPPRESS)
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    """Return 0 when the job is done, 3 when it was stopped, 2 when it failed for a reason told, 1 on a defect.

    Raises:
        JobError: no job there, it is done, or another worker has it.
    """
    folder = JobFolder(args.folder.expanduser().resolve())
    spec = folder.read_spec()
    detached = args.lock is not None
    lock = FileLock.adopt(args.lock, folder.lock) if detached else FileLock.acquire(folder.lock, patience=1.0)
    if lock is None:
        raise JobError(f"Job `{folder.id}` already has a worker. Stop it before you run it here.")
    status = read_status(folder)
    if status and status.state == "done":
        lock.release()
        raise JobError(f"Job `{folder.id}` is done and cannot be run again. Start a new job.")
    if detached:
        os.nice(NICE)
    else:
        folder.control.unlink(missing_ok=True)
    enter_working_folder(spec)
    outcome = work(folder, lock, echo=Echo(interval=60.0 if detached else 10.0))
    return {"done": 0, "stopped": 3}.get(outcome.status.state, 2 if isinstance(outcome.error, FVMError) else 1)
