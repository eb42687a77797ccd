"""Which module does the work of which kind of generation: text or image. No torch here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from fvm_core.errors import SettingsError
from fvm_core.jobs.context import JobContext
from fvm_core.workspace import Workspace

PRETRAIN: dict[str, str] = {"text": "fvm_core.generation.pretrain:run"}
"""Functions of (context, args, workspace) that train a small base model from scratch."""
OPEN: dict[str, str] = {"text": "fvm_core.generation.language_model:open_task"}
"""Functions of (workspace, lineage, pairs, settings) that load a model with its adapter as a `GenerationTask`; see
`language_model.open_task`."""


def of_kind(table: Mapping[str, str], kind: str) -> Any:
    """Import and return the function of a kind. Raises SettingsError for an unknown one."""
    if kind not in table:
        raise SettingsError(f"`kind` must be one of {', '.join(table)}, got {kind!r}.")
    module, _, name = table[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def pretrain(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Train the base model of `args["kind"]` from scratch. Job of kind `gen_pretrain`."""
    return of_kind(PRETRAIN, str(args.get("kind", "text")))(context, args, workspace)
