"""Paths that stay inside a job's folder."""

from __future__ import annotations

from pathlib import Path

from fvm_core.errors import JobError


def inside(folder: Path, *parts: str) -> Path:
    """Return `folder/parts...` with its parent folders made.

    Raises:
        JobError: the path would leave the folder.

    >>> inside(Path("/tmp"), "..", "etc")
    Traceback (most recent call last):
    fvm_core.errors.JobError: `path` must stay inside the job's folder, got '../etc'. Use a plain relative name.
    """
    root = folder.resolve()
    path = root.joinpath(*parts)
    if not path.resolve().is_relative_to(root):
        raise JobError(f"`path` must stay inside the job's folder, got {'/'.join(parts)!r}. Use a plain relative name.")
    path.parent.mkdir(parents=True, exist_ok=True)
    return path
