"""The standard influence function by LiSSA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fvm_core.influence.methods import METHODS
from fvm_core.influence.passes.curvature import telling
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.solve_lissa import solve_lissa
from fvm_core.influence.standard import standard_scores, validation_gradient
from fvm_core.influence.task import Task


@dataclass
class StandardPass:
    """g_val^T H^-1 g_z by LiSSA (Eq. 6). Suggested label: the largest score of all labels."""

    name: str = "standard"
    methods: tuple[str, ...] = ("standard",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        settings = task.settings
        products = settings.lissa_depth * settings.lissa_repeats * min(settings.batch_size, len(task.train))
        return len(task.validation) + 3.0 * products, 0.6

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        if kept is None:
            kept = inverse_gradient(task, report)
        device = next(task.model.parameters()).device
        self.notes = [str(kept["note"])]
        self.direction = {name: value.to(device) for name, value in kept["direction"].items()}
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        return {"standard": signed_columns("standard", standard_scores(task.model, x, self.direction)[0], task, y)}


def signed_columns(method: str, scores: Tensor, task: Task, y: Tensor) -> Columns:
    """Return the columns of a method from exact scores (b, outputs) of all labels; the suggestion is the least
    suspicious of the training set's classes."""
    scores = scores[:, : task.classes]
    given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
    suggested = (METHODS[method].suspicious * scores).argmin(1)
    return Columns(given, suggested, scores, torch.ones_like(scores, dtype=torch.bool))


def inverse_gradient(task: Task, report: Report) -> dict[str, Any]:
    """Return {"direction": {parameter: H^-1 g_val}, "scale", "note"}, H the Hessian of the training loss.

    Raises:
        SettingsError: LiSSA grows at the scale that was asked for.
    """
    told = telling(report, "Gradient of the validation loss")
    gradient = validation_gradient(task.model, task.validation_batches(), progress=told)
    size = min(task.settings.batch_size, len(task.train))
    solved = solve_lissa(task, task.training_batch, size, [gradient], report)
    direction = {name: value.cpu() for name, value in solved.values[0].items()}
    return {"direction": direction, "scale": solved.scale, "note": solved.note}
