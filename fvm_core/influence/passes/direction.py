"""What DataInf and EK-FAC share in the form of Eq. 6: one direction H^-1 g_val serves all samples and labels."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fvm_core.influence.passes.curvature import curvature_note, telling
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.standard import signed_columns
from fvm_core.influence.standard import standard_scores, validation_gradient
from fvm_core.influence.task import Task


class DirectionPass:
    """g_val^T H^-1 g_z. Subclasses solve for the direction. Suggested label: the largest score of all labels."""

    name: str
    notes: list[str]

    def solve(
        self, task: Task, gradient: Mapping[str, Tensor], report: Report
    ) -> tuple[Mapping[str, Tensor], list[str]]:
        """Return {parameter: H^-1 g_val} for {parameter: g_val}, and notes."""
        raise NotImplementedError

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        if kept is None:
            told = telling(report, "Gradient of the validation loss")
            gradient = validation_gradient(task.model, task.validation_batches(), progress=told)
            found, notes = self.solve(task, gradient, report)
            direction = {name: value.cpu() for name, value in found.items()}
            kept = {"direction": direction, "notes": [*curvature_note(task), *notes]}
        device = next(task.model.parameters()).device
        self.notes = list(kept["notes"])
        self.direction = {name: value.to(device) for name, value in kept["direction"].items()}
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        return {self.name: signed_columns(self.name, standard_scores(task.model, x, self.direction)[0], task, y)}
