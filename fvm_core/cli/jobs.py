"""`jobs`: list the workspace's jobs, or pause, continue, stop, resume or delete one."""

from __future__ import annotations

import argparse
from collections.abc import Callable

from fvm_core.jobs.control import pause_job, stop_job, unpause_job
from fvm_core.jobs.echo import status_line
from fvm_core.jobs.launch import delete_job, resume_job
from fvm_core.jobs.status import job_status, list_jobs
from fvm_core.workspace import Workspace

ACTIONS: dict[str, Callable[[Workspace, str], None]] = {
    "pause": pause_job,
    "continue": unpause_job,
    "stop": stop_job,
    "resume": resume_job,
    "delete": delete_job,
}


def add_parser(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    parser = subparsers.add_parser("jobs", help="list jobs, or pause, stop, resume one", description=__doc__)
    parser.add_argument("action", nargs="?", choices=("list", "show", *ACTIONS), default="list")
    parser.add_argument("id", nargs="?", default="", help="the job, for all actions but list")
    parser.set_defaults(handler=handle)


def handle(args: argparse.Namespace, workspace: Workspace) -> int:
    """Return 0.

    Raises:
        JobError: no such job, or it is not in a state for the action.
    """
    if args.action == "list":
        jobs = list_jobs(workspace)
        for status in jobs:
            print(f"{status.id}  {status_line(status)}")
        if not jobs:
            print("No job yet.")
        return 0
    if args.action == "show":
        print(status_line(job_status(workspace, args.id)))
        return 0
    ACTIONS[args.action](workspace, args.id)
    return 0
