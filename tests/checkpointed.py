"""A workspace with the digits and a base model that kept weights after several epochs, without any training."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from fvm_core.data.cache import PixelCache
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING, VALIDATION
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import save_model, save_weights
from fvm_core.models.inputs import to_input
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord
from fvm_core.workspace import Workspace

SPEC = ModelSpec("digits_cnn", 10, width=8, in_channels=1, image_size=8)
EPOCHS = {2: 0.1, 4: 0.05, 6: 0.02}
"""Epochs whose weights are kept, each with its learning rate."""


def add_checkpointed(workspace: Workspace, folder: Path, *, clean: int = 40) -> None:
    """Register `digits` and `clean` (so many of the validation digits), and model `b`: final weights and checkpoints
    are all different random ones."""
    add_dataset(workspace, "digits", TRAINING)
    everything = add_dataset(workspace, "all-clean", VALIDATION)
    (folder / "ids.txt").write_text("\n".join(open_named(workspace, everything).ids[:clean]))
    add_dataset(workspace, "clean", replace(VALIDATION, include=str(folder / "ids.txt")))
    kept = []
    for epoch, lr in EPOCHS.items():
        torch.manual_seed(epoch)
        file = f"checkpoints/epoch_{epoch:03d}.safetensors"
        save_weights(workspace.models / "b" / file, build_model(SPEC))
        kept.append({"epoch": epoch, "file": file, "lr": lr})
    torch.manual_seed(0)
    save_model(workspace.models / "b", build_model(SPEC), ModelRecord("b", "base", SPEC, checkpoints=tuple(kept)))


def inputs(workspace: Workspace, name: str, rows: list[int] | None = None) -> tuple[Tensor, Tensor]:
    """Return images and given labels of a registered dataset as the model gets them."""
    data = open_named(workspace, name)
    index = list(range(len(data))) if rows is None else rows
    cache = PixelCache(data, size=SPEC.image_size, channels=SPEC.in_channels, folder=workspace.cache)
    return to_input(cache.read(index), SPEC), torch.from_numpy(data.labels[index])
