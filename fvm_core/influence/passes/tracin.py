"""TracIn over the checkpoints that the base model's training kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import safetensors.torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.files import atomic_write
from fvm_core.influence.passes.curvature import telling
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.standard import signed_columns
from fvm_core.influence.standard import validation_gradient
from fvm_core.influence.task import Task
from fvm_core.influence.tracin import Term, evenly, tracin_scores
from fvm_core.models.safetensors_file import read_safetensors


@dataclass
class TracInPass:
    """Sum over checkpoints of lr g_val . g_z. Suggested label: the largest score of all labels.

    All checkpoints and their directions are held on the device at once: 2 * tracin_checkpoints times the parameters.
    The directions that are made stay in the job's folder, so a killed job does only the missing ones.
    """

    name: str = "tracin"
    methods: tuple[str, ...] = ("tracin",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        count = len(chosen_checkpoints(task))
        return float(count * len(task.validation)), 0.6 * count

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        chosen = chosen_checkpoints(task)
        self.terms = [_term(task, item, report) for item in chosen]
        words = ", ".join(f"{item['epoch']} (lr {item['lr']:.3g})" for item in chosen)
        self.notes = [f"TracIn: checkpoints after the epochs {words}."]
        return {"epochs": [int(item["epoch"]) for item in chosen]}

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        return {"tracin": signed_columns("tracin", tracin_scores(self.terms, x), task, y)}


def chosen_checkpoints(task: Task) -> list[Mapping[str, Any]]:
    """Return `tracin_checkpoints` of those that training kept, evenly spaced; where the model is scored at one of them,
    none later than it.

    Raises:
        CheckpointError: the model has none, or its record does not say the learning rate at them.
    """
    record = task.record
    kept = sorted(record.checkpoints, key=lambda item: int(item["epoch"]))
    kept = [item for item in kept if task.epoch is None or int(item["epoch"]) <= task.epoch]
    if not kept:
        instead = f"the base model it was tuned from, {record.parent!r}" if record.parent else "a model trained here"
        raise CheckpointError(
            f"TracIn needs the checkpoints of a training run, but model {record.name!r} has none. Score {instead}, or "
            "leave TracIn out."
        )
    chosen = evenly(kept, task.settings.tracin_checkpoints)
    for item in chosen:
        if not isinstance(item.get("lr"), int | float):
            raise CheckpointError(
                f"TracIn needs the learning rate at each checkpoint, but the record of model {record.name!r} has none "
                f"for epoch {item['epoch']}. Train the model again, or leave TracIn out."
            )
    return chosen


def _term(task: Task, item: Mapping[str, Any], report: Report) -> Term:
    """Return the model at one checkpoint and lr * g_val there, from the job's folder where it was made before."""
    epoch, lr = int(item["epoch"]), float(item["lr"])
    model = task.load(str(item["file"]))
    path = task.context.path("tracin", f"{task.plan[:16]}-epoch-{epoch:03d}.safetensors")
    if not path.exists():
        _write(path, _direction(task, model, lr, f"Gradient of the validation loss after epoch {epoch}", report))
    device = next(model.parameters()).device
    return model, {name: value.to(device) for name, value in read_safetensors(path).items()}


def _direction(task: Task, model: nn.Module, lr: float, message: str, report: Report) -> dict[str, Tensor]:
    found = validation_gradient(model, task.validation_batches(), progress=telling(report, message))
    return {name: (lr * value).cpu().contiguous() for name, value in found.items()}


def _write(path: Path, tensors: Mapping[str, Tensor]) -> None:
    with atomic_write(path) as file:
        file.write(safetensors.torch.save(dict(tensors)))
