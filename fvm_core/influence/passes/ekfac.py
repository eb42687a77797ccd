"""EK-FAC in both forms: the influence of Eq. 6, and the paper's form at the minimum, exactly for every label."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from fvm_core.influence.eigen_rule import EigenGradients
from fvm_core.influence.ekfac import Ekfac, apply, fit_ekfac, outside
from fvm_core.influence.fisher import Batches
from fvm_core.influence.gauss_newton import RandomSigns
from fvm_core.influence.passes.curvature import curvature_batches, curvature_rows, telling
from fvm_core.influence.passes.direction import DirectionPass
from fvm_core.influence.passes.influence import squared_columns, squared_cost
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import Task

FIT_UNITS = 4.0
"""Two passes, each with products of the layers' inputs besides; the eigendecompositions are not counted."""


@dataclass
class EkfacPass(DirectionPass):
    """g_val^T H^-1 g_z by EK-FAC over the training samples. Suggested label: the largest score of all labels."""

    name: str = "ekfac"
    methods: tuple[str, ...] = ("ekfac",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        return len(task.validation) + FIT_UNITS * len(curvature_rows(task)), 0.6

    def solve(
        self, task: Task, gradient: Mapping[str, Tensor], report: Report
    ) -> tuple[Mapping[str, Tensor], list[str]]:
        example, _ = task.train.batch(task.rows[: min(5, len(task.rows))])
        engine = SquaredGradients(task.model, example)
        found, notes = fitted(task, engine, lambda: curvature_batches(task), report)
        return apply(found, found.damped(task.settings.ekfac_damping), gradient), notes


@dataclass
class InfluenceEkfacPass:
    """s = g^T H_val^-1 g with EK-FAC over the validation set, with all labels, a shortlist or none (Eq. 21, 22)."""

    name: str = "influence_ekfac"
    methods: tuple[str, ...] = ("influence_ekfac",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        return FIT_UNITS * len(task.validation), 0.8 + squared_cost(task)

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        example, _ = task.train.batch(task.rows[: min(5, len(task.rows))])
        engine = SquaredGradients(task.model, example)
        if kept is None:
            found, notes = fitted(task, engine, task.validation_batches, report)
            kept = {"ekfac": found.to_state(), "notes": notes}
        self.notes = list(kept["notes"])
        ekfac = Ekfac.from_state(kept["ekfac"], example.device)
        self.engine = EigenGradients(engine, ekfac.bases)
        self.weights = ekfac.damped(task.settings.ekfac_damping, dtype=example.dtype)
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        return {"influence_ekfac": squared_columns(self.engine, self.weights, task, x, y)}


def fitted(
    task: Task, engine: SquaredGradients, fetch: Callable[[], Batches], report: Report
) -> tuple[Ekfac, list[str]]:
    """Return EK-FAC of the Gauss-Newton Hessian over the samples of `fetch()`, and notes."""
    told = telling(report, "EK-FAC", each=FIT_UNITS / 2)
    found = fit_ekfac(
        engine, fetch, RandomSigns(task.settings.seed), progress=told,
        turning=lambda layer: report(0.0, f"EK-FAC: eigenvectors of {layer or 'the layer'}"),
    )  # fmt: skip
    notes = [
        *engine.notes,
        "EK-FAC: Gauss-Newton Hessian from one signed draw of the labels a sample; damping of a layer is "
        f"{task.settings.ekfac_damping:g} times its mean eigenvalue.",
        *outside(engine),
    ]
    if found.still():
        shown = ", ".join(name or "the model" for name in found.still())
        notes.append(f"EK-FAC leaves out {shown}: no sample has a gradient there.")
    return found, notes
