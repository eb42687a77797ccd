"""From a job's folder into the model store: whole models only, under a name that was free."""

from __future__ import annotations

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from fvm_core.errors import SettingsError, StorageError
from fvm_core.files import slug
from fvm_core.jobs.context import JobContext
from fvm_core.models.checkpoint import save_model
from fvm_core.models.store import ModelRecord, read_record
from fvm_core.workspace import Workspace


@dataclass(frozen=True)
class Output:
    """The model that a job makes: a folder inside the job while it runs, `models/NAME` when it is done."""

    context: JobContext
    workspace: Workspace
    name: str

    @classmethod
    def claim(cls, context: JobContext, workspace: Workspace, name: str) -> Output:
        """Check that `name` is free, or already holds this very job's result.

        Raises:
            DataError: `name` has no letter or digit.
            SettingsError: a model of that name exists.
        """
        output = cls(context, workspace, slug(name))
        if output.folder.exists() and output.published() is None:
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
        if not (self.folder / "model.json").exists():
            return None
        record = read_record(self.workspace, self.name)
        return record if record.job == self.job else None

    def publish(self, model: nn.Module, record: ModelRecord) -> None:
        """Write weights, record and metrics, then move the folder to `models/NAME` in one rename.

        Raises:
            SettingsError: the weights are not finite, or the name was taken meanwhile.
            StorageError: the folder cannot be moved.
        """
        for key, value in model.state_dict().items():
            if not bool(torch.isfinite(value).all()):
                raise SettingsError(f"the weights became NaN or infinite (`{key}`). Try a lower `lr`.")
        staging = self.path("model.json").parent
        save_model(staging, model, record)
        if (metrics := self.context.folder / "metrics.jsonl").exists():
            shutil.copyfile(metrics, staging / "metrics.jsonl")
        self.folder.parent.mkdir(parents=True, exist_ok=True)
        if self.folder.exists():
            raise self._taken()
        try:
            os.rename(staging, self.folder)
        except OSError as error:
            raise StorageError(f"the finished model could not be moved to `{self.folder}` ({error}).") from error

    def _taken(self) -> SettingsError:
        return SettingsError(f"`name` must be new: a model `{self.name}` exists already. Choose another name.")
