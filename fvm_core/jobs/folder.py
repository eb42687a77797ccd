"""One folder a job: what was asked (spec.json), how it stands (status.json), what was measured, kept and said."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import tempfile
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fvm_core.errors import DataError, JobError, StorageError
from fvm_core.files import read_json, write_json
from fvm_core.jobs.kinds import check_kind
from fvm_core.workspace import Workspace

_ID = re.compile(r"\d{8}-\d{6}-\d{3}-[a-z0-9_]+-[0-9a-f]{6}")


@dataclass(frozen=True)
class JobSpec:
    """What was asked. `created`: seconds since the epoch; `cwd`: the folder that relative paths in `args` are in."""

    id: str
    kind: str
    title: str
    args: dict[str, Any]
    created: float
    cwd: str = ""


@dataclass(frozen=True)
class JobFolder:
    """Paths of one job's files."""

    root: Path

    @property
    def id(self) -> str:
        return self.root.name

    @property
    def workspace(self) -> Workspace:
        return Workspace(self.root.parent.parent)

    @property
    def spec(self) -> Path:
        return self.root / "spec.json"

    @property
    def status(self) -> Path:
        return self.root / "status.json"

    @property
    def metrics(self) -> Path:
        return self.root / "metrics.jsonl"

    @property
    def state(self) -> Path:
        return self.root / "state.pt"

    @property
    def control(self) -> Path:
        return self.root / "control"

    @property
    def lock(self) -> Path:
        return self.root / "lock"

    @property
    def log(self) -> Path:
        return self.root / "log.txt"

    @property
    def reserve(self) -> Path:
        return self.root / "reserve"

    def read_spec(self) -> JobSpec:
        """Return what was asked.

        Raises:
            JobError: spec.json is missing or damaged.
        """
        try:
            return JobSpec(**read_json(self.spec, what="the job's spec"))
        except (DataError, TypeError) as error:
            raise JobError(f"Job `{self.id}` is damaged: {error} Delete it and start it anew.") from error


def new_job_id(kind: str) -> str:
    """Return an id that sorts by time of creation (UTC, milliseconds) and holds no person's words."""
    now = datetime.now(UTC)
    return f"{now:%Y%m%d-%H%M%S}-{now.microsecond // 1000:03d}-{kind}-{secrets.token_hex(3)}"


def prepare_folder(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str) -> JobFolder:
    """Make a job's folder under a hidden name, so that no reader sees it half made; `publish_folder` shows it.

    Raises:
        JobError: unknown kind.
        TypeError: `args` is not JSON.
        StorageError: the disk refused.
    """
    check_kind(kind)
    args = json.loads(json.dumps(args))
    job_id = new_job_id(kind)
    spec = JobSpec(job_id, kind, title or kind, args, datetime.now(UTC).timestamp(), str(Path.cwd()))
    try:
        workspace.jobs.mkdir(parents=True, exist_ok=True)
        hidden = JobFolder(Path(tempfile.mkdtemp(dir=workspace.jobs, prefix=".new-")))
    except OSError as error:
        raise StorageError(
            f"No job folder could be made in `{workspace.jobs}` ({error.strerror or error}). "
            "Free disk space or choose another workspace folder, then try again."
        ) from error
    try:
        write_json(hidden.spec, asdict(spec))
    except BaseException:
        shutil.rmtree(hidden.root, ignore_errors=True)
        raise
    return hidden


def publish_folder(hidden: JobFolder) -> JobFolder:
    """Rename a prepared folder to its job's id. Locks taken on its files stay valid."""
    folder = JobFolder(hidden.root.parent / hidden.read_spec().id)
    os.rename(hidden.root, folder.root)
    return folder


def open_folder(workspace: Workspace, job_id: str) -> JobFolder:
    """Return the folder of an existing job.

    Raises:
        JobError: not an id of ours, or no such job.
    """
    folder = JobFolder(workspace.jobs / job_id)
    if not _ID.fullmatch(job_id) or not folder.root.is_dir():
        raise JobError(f"`job` must be the id of a job in `{workspace.jobs}`, got {job_id!r}. See the Jobs page.")
    return folder


def all_folders(workspace: Workspace) -> list[JobFolder]:
    """Return the folders of all jobs, the newest first."""
    if not workspace.jobs.is_dir():
        return []
    return [JobFolder(path) for path in sorted(workspace.jobs.iterdir(), reverse=True) if _ID.fullmatch(path.name)]
