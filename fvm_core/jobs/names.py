"""Names of models that unfinished jobs have to do with: those they will make, and those they read."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fvm_core.errors import JobError
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.status import ACTIVE, list_jobs
from fvm_core.workspace import Workspace

MAKERS = ("train", "tune", "import_model")
PREFIXES = {"pipeline": "", "demo": "digits"}
ROLES = ("base", "vm", "fvm")


def promised_names(workspace: Workspace) -> dict[str, str]:
    """Return the models that queued, running, paused and interrupted jobs are to make: name -> title of the job."""
    return {
        name: title
        for state, kind, title, args in _jobs(workspace)
        if state in (*ACTIVE, "interrupted")
        for name in made(kind, args)
    }


def used_names(workspace: Workspace) -> dict[str, str]:
    """Return the models that active jobs read or make: name -> title of the job."""
    return {
        name: title
        for state, kind, title, args in _jobs(workspace)
        if state in ACTIVE
        for name in (*made(kind, args), *([args["model"]] if isinstance(args.get("model"), str) else []))
    }


def made(kind: str, args: dict[str, Any]) -> list[str]:
    """Return the names of the models that a job makes (and a pipeline reads).

    >>> made("tune", {"name": "cats-fvm"}), made("demo", {})
    (['cats-fvm'], ['digits-base', 'digits-vm', 'digits-fvm'])
    """
    if kind in PREFIXES:
        prefix = str(args.get("prefix") or PREFIXES[kind])
        return [f"{prefix}-{role}" for role in ROLES]
    return [str(args["name"])] if kind in MAKERS and args.get("name") else []


def _jobs(workspace: Workspace) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    for status in list_jobs(workspace):
        if status.state not in (*ACTIVE, "interrupted"):
            continue
        try:
            yield status.state, status.kind, status.title, open_folder(workspace, status.id).read_spec().args
        except JobError:
            continue
