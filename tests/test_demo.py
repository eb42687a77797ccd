"""Putting the demo into a workspace: whole, and never on top of what is somebody else's."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path

import pytest

from fvm_core import demo
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, list_datasets
from fvm_core.errors import JobError
from fvm_core.models.checkpoint import load_model
from fvm_core.models.store import read_record, write_record
from fvm_core.workspace import Workspace


def test_install_twice_gives_datasets_and_a_model_that_loads(workspace: Workspace) -> None:
    demo.install(workspace)
    demo.install(workspace)
    assert sorted(list_datasets(workspace)) == ["digits", "digits-validation"]
    assert load_model(workspace, "digits-base")[1].sha256 == read_record(workspace, "digits-base").sha256
    assert sorted(path.name for path in workspace.root.iterdir()) == ["datasets", "models"]


def test_a_copy_that_is_cut_leaves_no_model(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    def cut(source: Path, target: Path) -> None:
        target.mkdir()
        shutil.copy(source / "model.json", target)
        raise OSError("disk full")

    monkeypatch.setattr("fvm_core.demo.shutil.copytree", cut)
    with pytest.raises(OSError, match="disk full"):
        demo.install(workspace)
    assert list(workspace.models.iterdir()) == []
    monkeypatch.undo()
    demo.install(workspace)
    assert (workspace.models / "digits-base" / "model.safetensors").exists()


def test_a_users_dataset_called_digits_is_named_with_a_remedy(workspace: Workspace) -> None:
    add_dataset(workspace, "digits", DatasetSpec("digits", label="clean"))
    with pytest.raises(JobError, match=r"needs the name `digits`, but another dataset is called so\. Remove"):
        demo.install(workspace)


def test_a_users_model_called_digits_base_is_named_with_a_remedy(workspace: Workspace) -> None:
    demo.install(workspace)
    record = read_record(workspace, "digits-base")
    write_record(workspace, replace(record, sha256="other"))
    demo.install(workspace)
    write_record(workspace, replace(record, sha256="other", spec=replace(record.spec, width=32)))
    with pytest.raises(JobError, match="model `digits-base` exists already, but with another architecture"):
        demo.install(workspace)


def test_a_folder_without_a_record_is_in_the_way_and_named(workspace: Workspace) -> None:
    (workspace.models / "digits-base").mkdir(parents=True)
    (workspace.models / "digits-base" / "model.safetensors").write_bytes(b"")
    with pytest.raises(JobError, match="Delete that folder"):
        demo.install(workspace)
