"""Jobs by what was asked of them: a page finds the one behind what it shows, also after a reload."""

from __future__ import annotations

from typing import Any

from fvm_core.errors import JobError
from fvm_core.jobs.folder import all_folders
from fvm_core.jobs.status import JobStatus, folder_status
from fvm_core.workspace import Workspace


def find_jobs(workspace: Workspace, kind: str, **wanted: Any) -> list[JobStatus]:
    """Return the jobs of `kind` whose arguments hold all of `wanted`, the newest first; damaged ones are left out.

    Cost: one small file for each job of the kind, and the status of those that fit.
    """
    found = []
    for folder in all_folders(workspace):
        if folder.id.split("-")[3] != kind:
            continue
        try:
            args = folder.read_spec().args
        except JobError:
            continue
        if all(args.get(key) == value for key, value in wanted.items()):
            found.append(folder_status(folder))
    return found
