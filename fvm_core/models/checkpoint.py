"""Weights in and out: our own models as safetensors, other people's files read as data only."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.files import atomic_write, file_sha256
from fvm_core.models.build import build_model
from fvm_core.models.store import WEIGHTS_FILE, ModelRecord, model_folder, read_record
from fvm_core.workspace import Workspace


def save_weights(path: Path | str, model: nn.Module, *, metadata: Mapping[str, str] | None = None) -> None:
    """Write the model's state (parameters and buffers, dtypes as they are) to a safetensors file, atomically."""
    storages: set[int] = set()
    state = {}
    for key, value in model.state_dict().items():
        tensor = value.detach().cpu().contiguous()
        pointer = tensor.untyped_storage().data_ptr()
        if pointer in storages or tensor.untyped_storage().nbytes() != tensor.numel() * tensor.element_size():
            tensor = tensor.clone()
        storages.add(pointer)
        state[key] = tensor
    data = safetensors.torch.save(state, metadata=dict(metadata or {}))
    with atomic_write(path) as file:
        file.write(data)


def load_into(model: nn.Module, state: Mapping[str, Tensor]) -> None:
    model.load_state_dict(dict(state))


def load_model(
    ws: Workspace, name: str, *, file: str = WEIGHTS_FILE, allow_custom: bool = False
) -> tuple[nn.Module, ModelRecord]:
    """Return a stored model in eval mode, in float32 on the CPU, and its record.

    `file` names other weights of the same model inside its folder (a snapshot, a checkpoint).

    Raises:
        CheckpointError: no such model or file, a file outside the model's folder, weights that were changed since the
            record was written, or that do not fit.
    """
    record = read_record(ws, name)
    folder = model_folder(ws, name).resolve()
    path = (folder / file).resolve()
    if not path.is_relative_to(folder):
        raise CheckpointError(f"`file` must lie in the folder of model {name!r}, got {file!r}. Choose one of its own.")
    if not path.is_file():
        raise CheckpointError(f"model {name!r} has no weights file {file!r}. Import or train the model again.")
    if file == WEIGHTS_FILE and record.sha256 and file_sha256(path) != record.sha256:
        raise CheckpointError(
            f"the weights of model {name!r} are not the ones in its record (their SHA-256 differs). "
            "Restore the file, or import or train the model again."
        )
    model = build_model(record.spec, allow_custom=allow_custom)
    load_into(model, safetensors.torch.load_file(path))
    return model.eval(), record


def load_snapshot(ws: Workspace, name: str, file: str, *, allow_custom: bool = False) -> nn.Module:
    """Return model `name` in eval mode with the weights of `file`, one of its record's snapshots or checkpoints."""
    return load_model(ws, name, file=file, allow_custom=allow_custom)[0]


def save_model(folder: Path, model: nn.Module, record: ModelRecord) -> ModelRecord:
    """Write models/NAME/model.safetensors and model.json, weights first; return the record with their SHA-256."""
    from fvm_core.files import write_json

    path = folder / WEIGHTS_FILE
    save_weights(path, model)
    record = replace(record, sha256=file_sha256(path))
    write_json(folder / "model.json", record.to_json())
    return record
