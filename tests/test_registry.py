import errno
import os

import pytest

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import add_dataset, list_datasets, open_named, read_spec, remove_dataset
from fvm_core.errors import DataError, StorageError
from fvm_core.workspace import Workspace

DIGITS = DatasetSpec("digits", label="noisy", options={"rate": 0.2})


def test_a_spec_comes_back_by_its_slug(workspace: Workspace) -> None:
    assert list_datasets(workspace) == {}
    assert add_dataset(workspace, "My Digits!", DIGITS) == "my-digits"
    assert list_datasets(workspace) == {"my-digits": DIGITS}
    assert read_spec(workspace, "my-digits") == DIGITS
    assert len(open_named(workspace, "my-digits")) == 1297


def test_a_name_is_kept_for_its_dataset_unless_replaced(workspace: Workspace) -> None:
    add_dataset(workspace, "a", DIGITS)
    add_dataset(workspace, "a", DIGITS)
    with pytest.raises(DataError, match="`name` must be new, but another dataset is called 'a'"):
        add_dataset(workspace, "a", DatasetSpec("digits"))
    add_dataset(workspace, "a", DatasetSpec("digits"), replace=True)
    assert read_spec(workspace, "a") == DatasetSpec("digits")


def test_a_dataset_that_cannot_be_opened_is_not_kept(workspace: Workspace) -> None:
    with pytest.raises(DataError, match="`path` must be a folder"):
        add_dataset(workspace, "a", DatasetSpec("folder", "/nowhere"))
    assert list_datasets(workspace) == {}


def test_unknown_and_removed_names_are_errors_that_list_the_known(workspace: Workspace) -> None:
    with pytest.raises(DataError, match=r"must be one of none yet, got 'b'\. Add it on the Load page"):
        open_named(workspace, "b")
    add_dataset(workspace, "a", DIGITS)
    with pytest.raises(DataError, match=r"must be one of \['a'\], got 'b'"):
        remove_dataset(workspace, "b")
    remove_dataset(workspace, "a")
    assert list_datasets(workspace) == {}


def test_a_damaged_file_hides_only_its_own_dataset(workspace: Workspace) -> None:
    add_dataset(workspace, "a", DIGITS)
    (workspace.datasets / "b.json").write_text("{")
    (workspace.datasets / "c.json").write_text('{"kind": "sql"}')
    assert list(list_datasets(workspace)) == ["a"]
    for name, match in (("b", "cannot be read"), ("c", "must have a `kind` out of")):
        with pytest.raises(DataError, match=match):
            open_named(workspace, name)


def test_full_disk_keeps_the_earlier_spec(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    add_dataset(workspace, "a", DIGITS)

    def full(descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StorageError, match="No space left on device"):
        add_dataset(workspace, "a", DatasetSpec("digits"), replace=True)
    assert read_spec(workspace, "a") == DIGITS
    assert [path.name for path in workspace.datasets.iterdir()] == ["a.json"]
