"""The paper's score at the minimum, for the given label and for the labels that could be suggested."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, ClassVar

from torch import Tensor

from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.validation_fisher import borrowed, fisher_units, kept_fisher, validation_fisher
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.relabel import all_labels, shortlist
from fvm_core.influence.task import Task


@dataclass
class InfluencePass:
    """s = g^T (F + d)^-1 g (Eq. 21, 25), with all labels, a shortlist or none (Eq. 22)."""

    name: str = "influence"
    methods: tuple[str, ...] = ("influence",)
    notes: list[str] = field(default_factory=list)
    together: ClassVar[bool] = True
    borrowed: float = 0.0

    def cost(self, task: Task) -> tuple[float, float]:
        return fisher_units(task), squared_cost(task)

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        self.engine = task.engine()
        self.notes = list(self.engine.notes)
        self.borrowed = borrowed(task)
        kept = kept or validation_fisher(task, self.engine, report)
        self.weights = inverse_fisher(kept_fisher(task, kept), damping=task.settings.damping)
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        return {"influence": squared_columns(self.engine, self.weights, task, x, y)}


def squared_columns(
    engine: SquaredGradients, weights: Mapping[str, Tensor], task: Task, x: Tensor, y: Tensor
) -> Columns:
    """Return the columns of a score that is a sum of weight * squared gradient, for the labels that are asked for."""
    mode, classes = task.settings.relabel, task.classes
    if mode == "none":
        return Columns(engine.scores(x, y, weights)[0])
    if mode == "all":
        found = all_labels(engine, x, y, weights, classes=classes)
    else:
        found = shortlist(engine, x, y, weights, classes=classes, batch_size=task.settings.batch_size)
    return Columns(found.given, found.suggested, found.scores, found.exact)


def squared_cost(task: Task) -> float:
    """Return the units a row that `squared_columns` takes: a shortlist 2.6 for 10 labels, 9 for 100 (measured)."""
    few, every = 1 + 0.32 * task.classes**0.7, 0.3 + 0.7 * task.classes
    return {"none": 1.0, "shortlist": few, "all": every}[task.settings.relabel]
