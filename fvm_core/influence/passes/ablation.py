"""Three of the four cells of Table 6 with diagonal Fishers; the fourth is the influence score itself."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fvm_core.influence.ablation import first_order_direction, second_order_weights
from fvm_core.influence.fisher import Batches, fisher_diagonal
from fvm_core.influence.passes.curvature import curvature_batches, curvature_note, curvature_rows, telling
from fvm_core.influence.passes.influence import squared_columns, squared_cost
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.standard import signed_columns
from fvm_core.influence.passes.validation_fisher import borrowed
from fvm_core.influence.standard import standard_scores, validation_gradient
from fvm_core.influence.task import Task

NEEDS = {
    "first_train": ("gradient", "training"),
    "first_val": ("gradient", "validation"),
    "second_train": ("training", "validation"),
}


@dataclass
class AblationPass:
    """Loss change of first or second order, by the parameter change of the training set or of the validation set."""

    methods: tuple[str, ...] = tuple(NEEDS)
    name: str = "ablation"
    borrowed: float = 0.0
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        sizes = {"gradient": len(task.validation), "validation": len(task.validation)}
        sizes["training"] = len(curvature_rows(task))
        rows = {"first_train": 0.6, "first_val": 0.6, "second_train": squared_cost(task)}
        return float(sum(sizes[part] for part in self._parts())), sum(rows[method] for method in self.methods)

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        self.engine = task.engine()
        like = next(task.model.parameters())
        self.borrowed = borrowed(task) if "validation" in self._parts() else 0.0
        makers: dict[str, Callable[[], dict[str, Tensor]]] = {
            "gradient": lambda: validation_gradient(
                task.model, task.validation_batches(), progress=telling(report, "Gradient of the validation loss")
            ),
            "validation": lambda: self._of_validation(task, report),
            "training": lambda: self._fisher(task, curvature_batches(task), report, "training"),
        }
        if kept is None:
            kept = {part: {name: value.cpu() for name, value in makers[part]().items()} for part in self._parts()}
        made = {
            part: {name: value.to(like.device) for name, value in tensors.items()} for part, tensors in kept.items()
        }
        self.notes = [*self.engine.notes, *(curvature_note(task) if "training" in made else ())]
        damping = task.settings.damping
        self.directions: dict[str, dict[str, Tensor]] = {}
        for method, fisher in (("first_train", "training"), ("first_val", "validation")):
            if method in self.methods:
                found = first_order_direction(made["gradient"], made[fisher], damping=damping)
                self.directions[method] = found
        if "second_train" in self.methods:
            self.weights = second_order_weights(made["validation"], made["training"], damping=damping, dtype=like.dtype)
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        out = {
            method: signed_columns(method, standard_scores(task.model, x, direction)[0], task, y)
            for method, direction in self.directions.items()
        }
        if "second_train" in self.methods:
            out["second_train"] = squared_columns(self.engine, self.weights, task, x, y)
        return out

    def _parts(self) -> list[str]:
        return sorted({part for method in self.methods for part in NEEDS[method]})

    def _of_validation(self, task: Task, report: Report) -> dict[str, Tensor]:
        if task.made_fisher is not None:
            return dict(task.made_fisher.fisher)
        return self._fisher(task, task.validation_batches(), report, "validation")

    def _fisher(self, task: Task, batches: Batches, report: Report, what: str) -> dict[str, Tensor]:
        told = telling(report, f"Fisher of the {what} set")
        return fisher_diagonal(task.model, batches, engine=self.engine, progress=told)
