"""Models and adapters that somebody else made: a base stays where it is, an adapter is copied. No torch here."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from fvm_core.errors import CheckpointError
from fvm_core.generation.identity import folder_identity
from fvm_core.generation.store import (
    GenerationRecord,
    check_free,
    generation_folder,
    publish,
    read_record,
)
from fvm_core.provenance import now
from fvm_core.workspace import Workspace

INDEX = {"text": "config.json", "image": "model_index.json"}


def register_base(workspace: Workspace, name: str, folder: Path | str, *, kind: str) -> GenerationRecord:
    """Record a local model folder under `name`; nothing is copied, and it is opened when it is first used.

    Raises:
        CheckpointError: the name is taken; the folder has no index file of its kind or no safetensors.
    """
    folder, name = Path(folder).expanduser().resolve(), check_free(workspace, name)
    if kind not in INDEX or not (folder / INDEX[kind]).is_file():
        wanted = INDEX.get(kind, "an index file")
        raise CheckpointError(f"`{folder}` must hold {wanted} for a model of kind {kind!r}, and does not. Check it.")
    record = GenerationRecord(
        name=name, kind=kind, role="base", identity=folder_identity(folder), path=str(folder), created=now()
    )
    return publish(workspace, _staging(workspace), record)


def register_adapter(
    workspace: Workspace, name: str, folder: Path | str, *, base: str, options: Mapping[str, Any]
) -> GenerationRecord:
    """Copy a peft adapter that was tuned elsewhere on training pairs (role `lora`); whether it fits the base is told
    when it is opened.

    Raises:
        CheckpointError: the name is taken, there is no such base, or no adapter in the folder.
    """
    folder, name, parent = Path(folder).expanduser(), check_free(workspace, name), read_record(workspace, base)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        if not (folder / file).is_file():
            raise CheckpointError(f"adapter `{folder}` must hold `{file}`, which is not there. Save it with peft.")
    staged = _staging(workspace)
    for file in ("adapter_config.json", "adapter_model.safetensors"):
        shutil.copyfile(folder / file, staged / file)
    record = GenerationRecord(
        name=name, kind=parent.kind, role="lora", identity=folder_identity(staged), base=parent.name,
        base_identity=parent.identity, parent=parent.name, settings={"options": dict(options)}, created=now(),
    )  # fmt: skip
    return publish(workspace, staged, record)


def _staging(workspace: Workspace) -> Path:
    folder = generation_folder(workspace, "models", f".new-{secrets.token_hex(4)}")
    folder.mkdir(parents=True)
    return folder
