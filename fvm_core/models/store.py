"""Models in the workspace: one folder and one model.json each. No torch here: pages read it."""

from __future__ import annotations

import math
import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fvm_core.errors import CheckpointError, DataError, StorageError
from fvm_core.files import read_json, slug, write_json
from fvm_core.models.spec import ModelSpec
from fvm_core.workspace import Workspace

ROLES = ("base", "vm", "fvm", "imported")
WEIGHTS_FILE = "model.safetensors"


@dataclass(frozen=True)
class ModelRecord:
    """What is known about a stored model; the JSON beside its weights.

    `role`: base (trained on noisy labels), vm (tuned with SGD), fvm (tuned with any other solver), imported. `sha256`
    is the hash of model.safetensors. `parent` is the model that was tuned, `parent_sha256` its weights' hash then.
    `dataset` and `validation` are {name, spec, fingerprint}. `snapshots` are {"step", "file"} and `checkpoints`
    {"epoch", "file", "lr"}, files relative to the model's folder. `job` is the id of the job that made it, `created` an
    ISO 8601 time.
    """

    name: str
    role: str
    spec: ModelSpec
    sha256: str = ""
    parent: str = ""
    parent_sha256: str = ""
    dataset: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    snapshots: tuple[Mapping[str, Any], ...] = ()
    checkpoints: tuple[Mapping[str, Any], ...] = ()
    metrics: Mapping[str, Any] = field(default_factory=dict)
    job: str = ""
    created: str = ""

    def to_json(self) -> dict[str, Any]:
        value = asdict(self)
        value["spec"] = self.spec.to_json()
        value["snapshots"] = list(self.snapshots)
        value["checkpoints"] = list(self.checkpoints)
        return value

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> ModelRecord:
        """Build from a mapping. Raises CheckpointError for a missing or unknown key or an unknown role."""
        keys = set(value) if isinstance(value, Mapping) else set()
        if not {"name", "role", "spec"} <= keys <= set(cls.__dataclass_fields__) or value["role"] not in ROLES:
            raise CheckpointError(
                f"a model's record must have `name`, `spec`, a `role` out of {ROLES} and only known keys, "
                f"got {str(value)[:200]}. Import or train the model again."
            )
        items = dict(value)
        items["spec"] = ModelSpec.from_json(items["spec"])
        for key in ("snapshots", "checkpoints"):
            items[key] = tuple(items.get(key, ()))
        return cls(**items)


def model_folder(ws: Workspace, name: str) -> Path:
    """Return models/NAME. Raises CheckpointError when `name` is no slug (nothing outside the workspace is reached)."""
    try:
        valid = slug(name) == name
    except DataError:
        valid = False
    if not valid:
        raise CheckpointError(f"`model` must be a name of a-z, 0-9, - and _, got {name!r}. Choose a model by its name.")
    return ws.models / name


def read_record(ws: Workspace, name: str) -> ModelRecord:
    """Return the record of model `name`. Raises CheckpointError when there is none or it is damaged."""
    path = model_folder(ws, name) / "model.json"
    if not path.is_file():
        known = ", ".join(list_models(ws)) or "none yet"
        raise CheckpointError(f"there is no model named {name!r}; there are: {known}. Import or train one first.")
    try:
        return ModelRecord.from_json(read_json(path, what="the model's record"))
    except (DataError, TypeError) as error:
        raise CheckpointError(f"model {name!r}: {error}") from error


def checkpoint_at(record: ModelRecord, epoch: int) -> Mapping[str, Any]:
    """Return the {"epoch", "file", "lr"} of the weights that training kept after `epoch`, counted from 1.

    Raises:
        CheckpointError: none was kept then; the message lists those there are.
    """
    kept = {item["epoch"]: item for item in record.checkpoints}
    if isinstance(epoch, bool) or epoch not in kept:
        there = f"one of the epochs {sorted(kept)}" if kept else "left empty, for no weights of its training were kept"
        raise CheckpointError(
            f"`checkpoint` of model {record.name!r} must be {there}, got {epoch!r}. "
            "Choose one of them, or none for the final weights."
        )
    return kept[epoch]


def write_record(ws: Workspace, record: ModelRecord) -> None:
    """Write models/NAME/model.json atomically; numbers that JSON has no word for (NaN, infinity) become null."""
    record_to_file(model_folder(ws, record.name) / "model.json", record)


def record_to_file(path: Path, record: ModelRecord) -> None:
    """Write a record to any path (a staging folder), as `write_record` does."""
    write_json(path, _finite(record.to_json()))


def list_models(ws: Workspace) -> dict[str, ModelRecord]:
    """Return every readable model by name, in the order of creation. A damaged record is left out, not raised."""
    records = []
    for path in ws.models.glob("[!.]*/model.json"):
        try:
            records.append(ModelRecord.from_json(read_json(path, what="the model's record")))
        except (CheckpointError, DataError, TypeError):
            continue
    return {record.name: record for record in sorted(records, key=lambda record: (record.created, record.name))}


def delete_model(ws: Workspace, name: str) -> None:
    """Remove models/NAME with all its weights; scores made with it, and models tuned from it, stay.

    The folder is first renamed to a hidden one, so that no reader ever sees half a model.

    Raises:
        CheckpointError: there is no model of that name, or an active job reads or makes it.
        StorageError: the folder cannot be renamed.
    """
    from fvm_core.jobs.names import used_names

    folder = model_folder(ws, name)
    if not folder.is_dir():
        raise CheckpointError(f"there is no model named {name!r} to delete. Reload the page.")
    if (title := used_names(ws).get(name)) is not None:
        raise CheckpointError(f'model {name!r} is in use by the job "{title}". Stop that job or wait for its end.')
    hidden = folder.with_name(f".deleted-{name}-{secrets.token_hex(4)}")
    try:
        os.rename(folder, hidden)
    except OSError as error:
        raise StorageError(f"model {name!r} could not be deleted ({error.strerror or error}).") from error
    shutil.rmtree(hidden, ignore_errors=True)


def _finite(value: Any) -> Any:
    if isinstance(value, float) and not math.isfinite(value):
        return None
    if isinstance(value, Mapping):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value
