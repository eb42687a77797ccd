"""The paper's score at the minimum, for the given label and for the labels that could be suggested."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.relabel import all_labels, shortlist
from fvm_core.influence.task import Task


@dataclass
class InfluencePass:
    """s = g^T (F + d)^-1 g (Eq. 21, 25), with all labels, a shortlist or none (Eq. 22)."""

    name: str = "influence"
    methods: tuple[str, ...] = ("influence",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        rows = {"none": 1.0, "shortlist": 1 + 0.4 * task.classes, "all": 0.3 + 0.7 * task.classes}
        return float(len(task.validation)), rows[task.settings.relabel]

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        example, _ = task.train.batch(task.rows[: min(5, len(task.rows))])
        self.engine = SquaredGradients(task.model, example)
        self.notes = list(self.engine.notes)
        if kept is None:
            seen = 0

            def told(done: int) -> None:
                nonlocal seen
                report(done - seen, "Fisher of the validation set")
                seen = done

            fisher = fisher_diagonal(task.model, task.validation_batches(), engine=self.engine, progress=told)
            kept = {"fisher": {name: value.cpu() for name, value in fisher.items()}}
        device = example.device
        fisher = {name: value.to(device) for name, value in kept["fisher"].items()}
        self.weights = inverse_fisher(fisher, damping=task.settings.damping)
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        mode, classes = task.settings.relabel, task.classes
        if mode == "none":
            return {"influence": Columns(self.engine.scores(x, y, self.weights)[0])}
        if mode == "all":
            found = all_labels(self.engine, x, y, self.weights, classes=classes)
        else:
            found = shortlist(self.engine, x, y, self.weights, classes=classes, batch_size=task.settings.batch_size)
        return {"influence": Columns(found.given, found.suggested, found.scores, found.exact)}
