"""Weights in and out: our own models as safetensors, other people's files read as data only."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import safetensors.torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.files import atomic_write, file_sha256
from fvm_core.models.build import build_model
from fvm_core.models.fit import load_into
from fvm_core.models.safetensors_file import looks_like_safetensors, read_safetensors
from fvm_core.models.state_dict import check_tensors, strip_prefixes, unwrap
from fvm_core.models.store import WEIGHTS_FILE, ModelRecord, model_folder, read_record, record_to_file
from fvm_core.models.torch_file import read_torch_file
from fvm_core.workspace import Workspace

__all__ = ["load_into", "load_model", "load_snapshot", "read_state", "save_model", "save_weights"]

MAX_BYTES = 4 << 30
SPEC_KEY = "fvm_spec"


def read_state(path: Path | str, *, max_bytes: int = MAX_BYTES) -> dict[str, Tensor]:
    """Return the weights in a safetensors, .pt or .pth file as {plain name: tensor on the CPU}, all finite.

    The format is told from the content, never from the name. No code in the file is run. Checkpoints of training
    programs are unwrapped and the prefixes of DataParallel, torch.compile and Lightning stripped. `max_bytes` limits
    the file and its unpacked content.

    Raises:
        CheckpointError: missing, empty, of another kind, truncated, malicious, a zip bomb, too large, without a state
            dict, or with NaN or infinite weights (named).
    """
    path = Path(path)
    if not path.is_file():
        raise CheckpointError(f"there is no weights file `{path}`. Choose a .safetensors, .pt or .pth file.")
    size = path.stat().st_size
    if size > max_bytes:
        raise CheckpointError(
            f"`{path.name}` has {size:,} bytes, the limit is {max_bytes:,}. Save the model's weights alone."
        )
    with open(path, "rb") as file:
        head = file.read(16)
    if head.startswith((b"PK\x03\x04", b"\x80")):
        state = unwrap(read_torch_file(path, max_bytes=max_bytes), what=path.name)
    elif looks_like_safetensors(head):
        state = unwrap(read_safetensors(path), what=path.name)
    else:
        raise CheckpointError(
            f"`{path.name}` is neither a safetensors file nor one of `torch.save`: it {_kind(head, size)}. "
            "Choose a .safetensors, .pt or .pth file."
        )
    check_tensors(state, max_bytes=max_bytes, what=path.name)
    return {plain: state[name].detach() for name, plain in strip_prefixes(state).items()}


def _kind(head: bytes, size: int) -> str:
    kinds = {
        b"version https:": "is a Git LFS pointer, not the file itself (run `git lfs pull`)",
        b"<": "looks like a web page (a failed download)",
        b"\x89HDF": "is HDF5, as Keras writes",
        b"\x1f\x8b": "is compressed with gzip (unpack it first)",
    }
    known = [text for start, text in kinds.items() if head.lstrip().startswith(start)]
    if size == 0 or known:
        return known[0] if known else "is empty"
    if all(32 <= byte < 127 or byte in b"\t\n\r\f" for byte in head):
        return "is a text file"
    return f"starts with the bytes {head[:8].hex(' ')}"


def save_weights(path: Path | str, model: nn.Module, *, metadata: dict[str, str] | None = None) -> None:
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
    data = safetensors.torch.save(state, metadata=metadata)
    with atomic_write(path) as file:
        file.write(data)


def save_model(folder: Path, model: nn.Module, record: ModelRecord) -> ModelRecord:
    """Write model.safetensors, then model.json into `folder` (models/NAME); return the record with its SHA-256.

    The weights carry the ModelSpec in their header, so that importing them elsewhere needs no questions.
    """
    path = folder / WEIGHTS_FILE
    save_weights(path, model, metadata={SPEC_KEY: json.dumps(record.spec.to_json(), sort_keys=True)})
    record = replace(record, sha256=file_sha256(path))
    record_to_file(folder / "model.json", record)
    return record


def load_model(
    ws: Workspace, name: str, *, file: str = WEIGHTS_FILE, allow_custom: bool = False
) -> tuple[nn.Module, ModelRecord]:
    """Return a stored model in eval mode, in float32 on the CPU, and its record.

    `file` names other weights of the same model inside its folder (a snapshot, a checkpoint).

    Raises:
        CheckpointError: no such model or file, a file outside the model's folder, weights that were changed since the
            record was written, or that do not fit.
        SettingsError: an architecture of the user's own without `allow_custom`.
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
    load_into(model, read_safetensors(path), what=f"the weights of model {name!r}")
    return model.eval(), record


def load_snapshot(ws: Workspace, name: str, file: str, *, allow_custom: bool = False) -> nn.Module:
    """Return model `name` in eval mode with the weights of `file`, one of its record's snapshots or checkpoints."""
    return load_model(ws, name, file=file, allow_custom=allow_custom)[0]
