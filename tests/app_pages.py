"""What the page tests share: the app opened at a page, and jobs and models that look real without any training."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest
from streamlit.testing.v1 import AppTest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset
from fvm_core.errors import FVMError
from fvm_core.jobs.control import write_request
from fvm_core.jobs.folder import JobFolder, prepare_folder, publish_folder
from fvm_core.jobs.launch import run_job
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.status import StatusWriter, list_jobs
from fvm_core.jobs.worker import fresh_status
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, write_record
from fvm_core.workspace import Workspace

ROOT = Path(__file__).resolve().parents[1]
DIGITS = ModelSpec("digits_cnn", 10, width=16, in_channels=1, image_size=8, class_names=tuple("0123456789"))


def open_page(page: str, **state: Any) -> AppTest:
    """Return the app after it went to pages/PAGE.py, with `state` in its session."""
    app = AppTest.from_file(str(ROOT / "app.py"), default_timeout=120)
    for key, value in state.items():
        app.session_state[key] = value
    app.run()
    if page != "home":
        app.switch_page(f"pages/{page}.py").run()
    assert not app.exception, app.exception[0].message
    return app


def texts(app: AppTest) -> str:
    """Return every text on the page, one after the other."""
    kinds = ("title", "header", "subheader", "markdown", "caption", "info", "warning", "error", "success")
    return "\n".join(str(element.value) for kind in kinds for element in app.get(kind))


def visible(text: str) -> str:
    """Return Markdown as it reads on the screen: without the backslashes of `plain`."""
    return re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", text).replace("\u2060", "")


def button(app: AppTest, label: str) -> Any:
    """Return the one button with this label."""
    found = [element for element in app.button if element.label == label]
    assert len(found) == 1, f"{label!r}: {[element.label for element in app.button]}"
    return found[0]


def labels(app: AppTest) -> list[str]:
    """Return the labels of all buttons."""
    return [element.label for element in app.button]


def add_digits(workspace: Workspace) -> None:
    """Register the demo's two datasets."""
    add_dataset(workspace, "digits", DatasetSpec("digits", label="noisy", options={"split": "train"}))
    add_dataset(workspace, "digits-validation", DatasetSpec("digits", label="clean", options={"split": "validation"}))


def add_model(workspace: Workspace, name: str, role: str, rows: list[dict[str, float]] | None = None) -> None:
    """Put a model's record (no weights: pages never read them) and its curves into the workspace."""
    (workspace.models / name).mkdir(parents=True)
    write_record(workspace, ModelRecord(name, role, DIGITS, created="2026-01-01T00:00:00+00:00"))
    if rows:
        (workspace.models / name / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


def ended_job(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str, **status: Any) -> JobFolder:
    """Leave a job behind as its worker would: `status` overrides fields of its last status."""
    hidden = prepare_folder(workspace, kind, args, title=title)
    writer = StatusWriter(hidden, fresh_status(hidden.read_spec()))
    writer.update(now=True, **{"started": time.time() - 60, **status})
    return publish_folder(hidden)


def run_jobs_here(monkeypatch: pytest.MonkeyPatch, *modules: str) -> None:
    """Let the light jobs that pages.ui.MODULES start run to their end in this process, before the page goes on."""

    def start(workspace: Workspace, kind: str, args: dict[str, Any], *, title: str = "") -> str:
        before = {status.id for status in list_jobs(workspace)}
        with suppress(FVMError):
            run_job(workspace, kind, args, title=title)
        (job,) = {status.id for status in list_jobs(workspace)} - before
        return job

    for module in modules:
        monkeypatch.setattr(f"pages.ui.{module}.start_job", start)


@contextmanager
def running_job(
    workspace: Workspace, kind: str, args: dict[str, Any], *, title: str, **status: Any
) -> Iterator[JobFolder]:
    """Hold a job's lock, so that it looks as if its worker were at it."""
    hidden = prepare_folder(workspace, kind, args, title=title)
    lock = FileLock.acquire(hidden.lock)
    assert lock is not None
    write_request(hidden, "run")
    StatusWriter(hidden, fresh_status(hidden.read_spec())).update(
        now=True, **{"state": "running", "started": time.time() - 60, **status}
    )
    try:
        yield publish_folder(hidden)
    finally:
        lock.release()
