"""Generating models, adapters and sets of pairs in the workspace. No torch here: pages read it.

Below `generation/`: `models/NAME/` with model.json beside the weights (a transformers or diffusers folder, or a peft
adapter), `pairs/NAME.parquet`, `scores/RUN/` (see `score_store`), `answers/KEY/`.
"""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from fvm_core.errors import CheckpointError, DataError, JobError, StorageError
from fvm_core.files import read_json, slug, write_json
from fvm_core.generation.pairs import KINDS, PairSet
from fvm_core.workspace import Workspace

ROLES = ("base", "lora", "vm", "fvm")
RECORD = "model.json"


@dataclass(frozen=True, kw_only=True)
class GenerationRecord:
    """What is known about a stored model or adapter.

    `kind`: text or image. `role`: base (a whole model), lora (adapter tuned on training pairs), vm or fvm (that adapter
    tuned further on validation pairs). `base`: the base model's name, `parent` that of the adapter it started from.
    `path`: the folder of a base model that stays where it is, empty for one in the workspace. `identity`: a hash of
    the base's weights (of an adapter's base, in `base_identity`). `training`, `validation`: what `PairSet.describe`
    says. `job`: the folder of the job that made it. `created`: ISO 8601.
    """

    name: str
    kind: str
    role: str
    identity: str = ""
    base: str = ""
    base_identity: str = ""
    parent: str = ""
    path: str = ""
    training: Mapping[str, Any] = field(default_factory=dict)
    validation: Mapping[str, Any] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)
    metrics: Mapping[str, Any] = field(default_factory=dict)
    job: str = ""
    created: str = ""

    @classmethod
    def from_json(cls, value: Any) -> GenerationRecord:
        """Build from a mapping. Raises CheckpointError for a missing or unknown key, kind or role."""
        keys = set(value) if isinstance(value, Mapping) else set()
        known = {"name", "kind", "role"} <= keys <= set(cls.__dataclass_fields__)
        if not known or value["role"] not in ROLES or value["kind"] not in KINDS:
            raise CheckpointError(
                f"a generating model's record must have `name`, a `kind` out of {KINDS}, a `role` out of {ROLES} and "
                f"only known keys, got {str(value)[:200]}. Make the model again."
            )
        return cls(**value)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def generation_folder(workspace: Workspace, *parts: str) -> Path:
    """Return a path below the workspace's `generation/`."""
    return workspace.root.joinpath("generation", *parts)


def model_path(workspace: Workspace, name: str) -> Path:
    """Return generation/models/NAME. Raises CheckpointError when `name` is no slug."""
    return generation_folder(workspace, "models", _checked(name, "model"))


def weights_path(workspace: Workspace, record: GenerationRecord) -> Path:
    """Return the folder with the weights: the record's own, or the one elsewhere that it names."""
    return Path(record.path) if record.path else model_path(workspace, record.name)


def read_record(workspace: Workspace, name: str) -> GenerationRecord:
    """Return the record of a model or adapter. Raises CheckpointError when there is none or it is damaged."""
    path = model_path(workspace, name) / RECORD
    if not path.is_file():
        known = ", ".join(list_records(workspace)) or "none yet"
        raise CheckpointError(
            f"there is no generating model named {name!r}; there are: {known}. Add, pretrain or tune one first."
        )
    try:
        return GenerationRecord.from_json(read_json(path, what="the model's record"))
    except DataError as error:
        raise CheckpointError(f"generating model {name!r}: {error}") from error


def write_record(folder: Path, record: GenerationRecord) -> None:
    """Write FOLDER/model.json atomically."""
    write_json(folder / RECORD, record.to_json())


def list_records(workspace: Workspace) -> dict[str, GenerationRecord]:
    """Return every readable model and adapter by name, in the order of creation; damaged records are left out."""
    found = []
    for path in generation_folder(workspace, "models").glob(f"[!.]*/{RECORD}"):
        try:
            record = GenerationRecord.from_json(read_json(path, what="the model's record"))
            found.append(((record.created, path.stat().st_mtime_ns, record.name), record))
        except (CheckpointError, DataError, OSError):
            continue
    return {record.name: record for _, record in sorted(found, key=lambda item: item[0])}


def lineage(workspace: Workspace, name: str) -> list[GenerationRecord]:
    """Return the record of `name`, of the adapter it started from, and so on to its base.

    Raises:
        CheckpointError: one of them is gone or damaged.
    """
    chain = [read_record(workspace, name)]
    while chain[-1].role != "base":
        chain.append(read_record(workspace, chain[-1].parent or chain[-1].base))
        if len(chain) > 64:
            raise CheckpointError(f"generating model {name!r} descends from itself. Delete it and tune it again.")
    return chain


def check_free(workspace: Workspace, name: str, *, job: str = "") -> str:
    """Return `name` as a slug. Raises CheckpointError when a model of that name exists that another job made."""
    name = slug(name)
    folder = model_path(workspace, name)
    if folder.exists() and not (job and (folder / RECORD).is_file() and read_record(workspace, name).job == job):
        raise CheckpointError(f"`name` must be new: a generating model `{name}` exists already. Choose another name.")
    return name


def publish(workspace: Workspace, staged: Path, record: GenerationRecord) -> GenerationRecord:
    """Move the folder `staged` with its weights to generation/models/NAME in one rename, with its record.

    Raises:
        CheckpointError: the name was taken meanwhile.
        StorageError: the folder cannot be moved.
    """
    write_record(staged, record)
    target = model_path(workspace, record.name)
    target.parent.mkdir(parents=True, exist_ok=True)
    if target.exists():
        raise CheckpointError(
            f"`name` must be new: a generating model `{record.name}` was made meanwhile. The weights are kept in "
            f"`{staged}`. Choose another name."
        )
    try:
        os.rename(staged, target)
    except OSError as error:
        raise StorageError(
            f"the finished model could not be moved to `{target}` ({error}). Free disk space."
        ) from error
    return record


def delete_record(workspace: Workspace, name: str) -> None:
    """Remove a model or adapter; a base that stays elsewhere is only forgotten.

    Raises:
        CheckpointError: there is none of that name.
        JobError: adapters descend from it.
        StorageError: the folder cannot be renamed.
    """
    folder = model_path(workspace, name)
    if not folder.is_dir():
        raise CheckpointError(f"there is no generating model named {name!r} to delete. Reload the page.")
    heirs = [one.name for one in list_records(workspace).values() if name in (one.base, one.parent)]
    if heirs:
        raise JobError(f"generating model {name!r} is needed by {', '.join(heirs)}. Delete these first.")
    hidden = folder.with_name(f".deleted-{name}-{secrets.token_hex(4)}")
    try:
        os.rename(folder, hidden)
    except OSError as error:
        raise StorageError(f"generating model {name!r} could not be deleted ({error.strerror or error}).") from error
    shutil.rmtree(hidden, ignore_errors=True)


def pairs_path(workspace: Workspace, name: str) -> Path:
    """Return generation/pairs/NAME.parquet. Raises CheckpointError when `name` is no slug."""
    return generation_folder(workspace, "pairs", f"{_checked(name, 'pairs')}.parquet")


def list_pairs(workspace: Workspace) -> list[str]:
    """Return the names of the sets of pairs, sorted."""
    return sorted(path.stem for path in generation_folder(workspace, "pairs").glob("[!.]*.parquet"))


def read_pairs(workspace: Workspace, name: str) -> PairSet:
    """Return a set of pairs by its name. Raises DataError when there is none or it is damaged."""
    from fvm_core.generation.pair_file import read_pair_file

    path = pairs_path(workspace, name)
    if not path.is_file():
        known = ", ".join(list_pairs(workspace)) or "none yet"
        raise DataError(f"there is no set of pairs named {name!r}; there are: {known}. Make or import one first.")
    return read_pair_file(path)


def write_pairs(workspace: Workspace, name: str, pairs: PairSet, *, replace: bool = False) -> str:
    """Keep a set of pairs under the slug of `name`, and return that; the same set may be written again.

    Raises:
        DataError: another set of that name exists and `replace` is False.
        StorageError: the disk refused.
    """
    from fvm_core.generation.pair_file import write_pair_file

    name = slug(name)
    path = pairs_path(workspace, name)
    if path.exists() and not replace:
        if read_pairs(workspace, name).fingerprint == pairs.fingerprint:
            return name
        raise DataError(f"`name` must be new: other pairs are kept as `{name}`. Choose another name.")
    write_pair_file(path, pairs)
    return name


def _checked(name: str, what: str) -> str:
    try:
        valid = slug(name) == name
    except DataError:
        valid = False
    if not valid:
        raise CheckpointError(f"`{what}` must be a name of a-z, 0-9, - and _, got {name!r}. Choose one by its name.")
    return name
