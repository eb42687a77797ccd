"""Does one part of an experiment in a folder named by its key: once for all tables, and on from where it was cut."""

from __future__ import annotations

import importlib
import os
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

from fvm_core.errors import StorageError
from fvm_core.experiments.parts import Part, done
from fvm_core.experiments.store import Store
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.jobs.kinds import load_kind
from fvm_core.jobs.lock import FileLock
from fvm_core.jobs.nested import NestedContext
from fvm_core.models.store import model_folder, read_record, record_to_file
from fvm_core.workspace import Workspace

OWN = {"accuracy": "fvm_core.experiments.along_training:run", "steps": "fvm_core.experiments.newton_steps:run"}
"""Kinds of parts that are no jobs by themselves -> their function, called as a job's is."""

KEPT = ("metrics.jsonl", "result.parquet", "lock")
POLL = 0.5


def do_part(
    context: JobContext, part: Part, store: Store, workspace: Workspace, *, start: int, end: int, scale: int
) -> None:
    """Do a part unless it is done; it counts as [start, end] out of `scale` of the job's progress.

    Two jobs that need the same part take turns: the second waits, then finds it done. What a part leaves of its
    working state is removed once it is done.

    Raises:
        FVMError: what the work raised.
        JobStopped: the person asked to stop.
    """
    folder = store.parts / part.key
    folder.mkdir(parents=True, exist_ok=True)
    lock = _turn(context, folder / "lock", part.title, start=start, scale=scale)
    try:
        if done(part, store):
            return
        nested = NestedContext(context, name=part.title, start=start, end=end, scale=scale, folder=folder)
        try:
            _work(part.kind)(nested, _arguments(part), store) if part.kind != "adopt" else _adopt(
                part, store, workspace
            )
        finally:
            nested.close()
        for path in folder.iterdir():
            if path.name not in KEPT:
                shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)
    finally:
        lock.release()


def _turn(context: JobContext, path: Path, title: str, *, start: int, scale: int) -> FileLock:
    while (lock := FileLock.acquire(path)) is None:
        context.progress(1000 * start, 1000 * scale, f"{title}: another job is at it")
        if context.checkpoint():
            raise JobStopped
        time.sleep(POLL)
    return lock


def _work(kind: str) -> Callable[[JobContext, dict[str, Any], Workspace], Any]:
    if kind not in OWN:
        return load_kind(kind)
    module, _, function = OWN[kind].partition(":")
    return getattr(importlib.import_module(module), function)


def _arguments(part: Part) -> dict[str, Any]:
    names = {"train": ("name", "m"), "tune": ("name", "m"), "score": ("run", "s"), "snapshots": ("run", "s")}
    if part.kind not in names:
        return dict(part.args)
    argument, mark = names[part.kind]
    return {**part.args, argument: f"{mark}-{part.key}"}


def _adopt(part: Part, store: Store, workspace: Workspace) -> None:
    """Copy a model of the person's, with the checkpoints of its training, into the store, whole or not at all."""
    record, name = read_record(workspace, str(part.args["model"])), f"m-{part.key}"
    store.models.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=store.models, prefix=".adopt-") as hidden:
        copy = Path(hidden) / "copy"
        try:
            shutil.copytree(model_folder(workspace, record.name), copy, ignore=shutil.ignore_patterns("snapshots"))
            record_to_file(copy / "model.json", replace(record, name=name, snapshots=()))
            os.rename(copy, store.models / name)
        except OSError as error:
            raise StorageError(
                f"model {record.name!r} could not be copied into `{store.models}` ({error.strerror or error}). "
                "Free disk space, then try again."
            ) from error
