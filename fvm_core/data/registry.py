"""Datasets by name: small JSON files in the workspace."""

from __future__ import annotations

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.open import open_dataset
from fvm_core.errors import DataError
from fvm_core.files import read_json, slug, write_json
from fvm_core.workspace import Workspace


def add_dataset(workspace: Workspace, name: str, spec: DatasetSpec, *, replace: bool = False) -> str:
    """Open `spec` to check it, keep it under the slug of `name`, and return that slug.

    Raises:
        DataError: the dataset cannot be opened, or another one has this name and `replace` is False.
        StorageError: the workspace cannot be written.
    """
    key = slug(name) if replace else check_name(workspace, name, spec)
    open_dataset(spec)
    write_json(workspace.datasets / f"{key}.json", spec.to_json())
    return key


def check_name(workspace: Workspace, name: str, spec: DatasetSpec) -> str:
    """Return the slug of `name`. Raises DataError when a dataset other than `spec` has it."""
    key = slug(name)
    path = workspace.datasets / f"{key}.json"
    if path.exists() and DatasetSpec.from_json(read_json(path, what="dataset")) != spec:
        raise DataError(f"`name` must be new, but another dataset is called {key!r}. Choose another name or remove it.")
    return key


def list_datasets(workspace: Workspace) -> dict[str, DatasetSpec]:
    """Return the specs by name, sorted. A damaged file of ours is left out here and named by `open_named`."""
    specs = {}
    for path in sorted(workspace.datasets.glob("*.json")):
        try:
            specs[path.stem] = DatasetSpec.from_json(read_json(path, what="dataset"))
        except DataError:
            continue
    return specs


def read_spec(workspace: Workspace, name: str) -> DatasetSpec:
    """Return the spec kept as `name`. Raises DataError when there is none."""
    path = workspace.datasets / f"{slug(name)}.json"
    if not path.exists():
        known = sorted(list_datasets(workspace)) or "none yet"
        raise DataError(f"`dataset` must be one of {known}, got {name!r}. Add it on the Load page.")
    return DatasetSpec.from_json(read_json(path, what="dataset"))


def open_named(workspace: Workspace, name: str) -> LabeledImages:
    """Open the dataset kept as `name`. Raises DataError when there is none or it cannot be opened."""
    return open_dataset(read_spec(workspace, name))


def open_unchanged(workspace: Workspace, name: str, fingerprint: str) -> LabeledImages:
    """Open the dataset kept as `name` if it still is the one that was meant when a job was started.

    Raises:
        DataError: there is none, it cannot be opened, or its fingerprint is another.
    """
    dataset = open_named(workspace, name)
    if dataset.fingerprint != fingerprint:
        raise DataError(
            f"dataset `{name}` must be as it was when this was started, but its labels or images have changed. "
            "Start it anew."
        )
    return dataset


def remove_dataset(workspace: Workspace, name: str) -> None:
    """Forget `name`; its files stay where they are. Raises DataError when there is none."""
    read_spec(workspace, name)
    (workspace.datasets / f"{slug(name)}.json").unlink()
