"""From a job's folder into the model store: whole models only, under a name that was free."""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path

import torch
from torch import nn

from fvm_core.errors import SettingsError, StorageError
from fvm_core.files import slug
from fvm_core.jobs.context import JobContext
from fvm_core.models.checkpoint import save_model
from fvm_core.models.store import ModelRecord, read_record, record_to_file
from fvm_core.workspace import Workspace


def numbered(name: str) -> Iterator[str]:
    """Yield NAME, NAME-2, NAME-3, ..., each at most 64 characters long.

    >>> [next(names) for names in [numbered("a")] for _ in range(3)]
    ['a', 'a-2', 'a-3']
    """
    yield name
    for number in count(2):
        tail = f"-{number}"
        yield f"{name[: 64 - len(tail)]}{tail}"


@dataclass(frozen=True)
class Output:
    """The model that a job makes: a folder inside the job while it runs, `models/NAME` when it is done."""

    context: JobContext
    workspace: Workspace
    name: str

    @classmethod
    def claim(cls, context: JobContext, workspace: Workspace, name: str) -> Output:
        """Check that `name` is free, or already holds this very job's result.

        A job that has done some of its work and resumes goes on although the name was taken since: see `publish`.

        Raises:
            DataError: `name` has no letter or digit.
            SettingsError: a model of that name exists.
        """
        output = cls(context, workspace, slug(name))
        if output.folder.exists() and output.published() is None and context.load_state() is None:
            raise output._taken()
        return output

    @property
    def folder(self) -> Path:
        return self.workspace.models / self.name

    @property
    def job(self) -> str:
        """The job's folder below the workspace's jobs: the mark by which a resumed job knows its own result."""
        folder = self.context.folder
        return str(folder.relative_to(self.workspace.jobs) if self.workspace.jobs in folder.parents else folder)

    def path(self, *parts: str) -> Path:
        """Return a path in the unfinished model's folder."""
        return self.context.path("model", *parts)

    def published(self) -> ModelRecord | None:
        """Return the record if this job finished before (killed between the rename and its last words), else None."""
        for name in numbered(self.name):
            if not (self.workspace.models / name).exists():
                return None
            if (self.workspace.models / name / "model.json").exists():
                record = read_record(self.workspace, name)
                if record.job == self.job:
                    return record
        return None

    def publish(self, model: nn.Module, record: ModelRecord) -> ModelRecord:
        """Write weights, record and metrics, then move the folder to `models/NAME` in one rename.

        A name that was taken while the job worked costs no work: the model goes to NAME-2, NAME-3, ... Returns the
        record with the name that it got; `renamed` says it in words.

        Raises:
            SettingsError: the weights are not finite.
            StorageError: the folder cannot be moved.
        """
        for key, value in model.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise SettingsError(f"the weights became NaN or infinite (`{key}`). Try a lower `lr`.")
        staging = self.path("model.json").parent
        record = save_model(staging, model, record)
        if (metrics := self.context.folder / "metrics.jsonl").exists():
            shutil.copyfile(metrics, staging / "metrics.jsonl")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        for name in numbered(self.name):
            folder = self.workspace.models / name
            if folder.exists():
                continue
            record = replace(record, name=name)
            record_to_file(staging / "model.json", record)
            try:
                os.rename(staging, folder)
            except OSError as error:
                if error.errno in (errno.EEXIST, errno.ENOTEMPTY):
                    continue
                raise StorageError(f"the finished model could not be moved to `{folder}` ({error}).") from error
            break
        return record

    def renamed(self, record: ModelRecord) -> list[str]:
        """Return a note if the model did not get the name that was asked for, else nothing."""
        if record.name == self.name:
            return []
        return [f"the name `{self.name}` was taken while the job worked: the model is kept as `{record.name}`"]

    def _taken(self) -> SettingsError:
        return SettingsError(f"`name` must be new: a model `{self.name}` exists already. Choose another name.")
