"""Which module does the work of which kind of generation: text or image. No torch here."""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from typing import Any

from fvm_core.errors import SettingsError
from fvm_core.jobs.context import JobContext
from fvm_core.workspace import Workspace

PRETRAIN: dict[str, str] = {
    "text": "fvm_core.generation.pretrain:run",
    "image": "fvm_core.generation.pretrain_diffusion:run",
}
"""Functions of (context, args, workspace) that train a small base model from scratch."""
OPEN: dict[str, str] = {
    "text": "fvm_core.generation.language_model:open_task",
    "image": "fvm_core.generation.diffusion_task:open_task",
}
"""Functions of (base: Path, adapter: Path | None, pairs: PairSet, *, lora: LoraSettings, options: dict) that load the
base in its folder with the adapter in its folder, or with a new one shaped by `lora`, and return a `GenerationTask`.
`options` are the kind's own settings (LanguageOptions, DiffusionSettings) as JSON; an adapter's record keeps them."""


def of_kind(table: Mapping[str, str], kind: str) -> Any:
    """Import and return the function of a kind. Raises SettingsError for an unknown one."""
    if kind not in table:
        raise SettingsError(f"`kind` must be one of {', '.join(table)}, got {kind!r}.")
    module, _, name = table[kind].partition(":")
    return getattr(importlib.import_module(module), name)


def pretrain(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Train the base model of `args["kind"]` from scratch. Job of kind `gen_pretrain`."""
    return of_kind(PRETRAIN, str(args.get("kind", "text")))(context, args, workspace)
