"""The influence of Eq. 6 with DataInf's inverse."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from torch import Tensor

from fvm_core.influence.datainf import datainf, layer_damping
from fvm_core.influence.fisher import Batches, fisher_diagonal
from fvm_core.influence.passes.curvature import curvature_batches, curvature_rows, telling
from fvm_core.influence.passes.direction import DirectionPass
from fvm_core.influence.passes.protocol import Report
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import Task

DATAINF_UNITS = 2.5
"""A pass for the layers' damping, and one with every sample's gradient built."""


@dataclass
class DataInfPass(DirectionPass):
    """g_val^T H^-1 g_z by DataInf over the training samples. Suggested label: the largest score of all labels."""

    name: str = "datainf"
    methods: tuple[str, ...] = ("datainf",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        return len(task.validation) + DATAINF_UNITS * len(curvature_rows(task)), 0.6

    def solve(
        self, task: Task, gradient: Mapping[str, Tensor], report: Report
    ) -> tuple[Mapping[str, Tensor], list[str]]:
        found, notes = solve_datainf(task, lambda: curvature_batches(task), [gradient], report)
        return found[0], notes


def solve_datainf(
    task: Task, fetch: Callable[[], Batches], vectors: Sequence[Mapping[str, Tensor]], report: Report
) -> tuple[list[dict[str, Tensor]], list[str]]:
    """Return DataInf's H^-1 v for each of `vectors` over the samples of `fetch()`, and notes.

    Raises:
        SettingsError: see `layer_damping` and `datainf`.
    """
    model, damping = task.model, task.settings.datainf_damping
    example, _ = next(iter(fetch()))
    engine = SquaredGradients(model, example)
    fisher = fisher_diagonal(model, fetch(), engine=engine, progress=telling(report, "DataInf: damping of each layer"))
    lambdas = layer_damping(engine, fisher, damping=damping)
    told = telling(report, "DataInf", each=DATAINF_UNITS - 1)
    found = datainf(engine, fetch(), vectors, lambdas, progress=told)
    still = [layer or "the model" for layer, value in lambdas.items() if value <= 0]
    notes = [*engine.notes, f"DataInf: lambda of a layer is {damping:g} times its mean squared gradient."]
    if still:
        notes.append(f"DataInf leaves out {', '.join(still)}: no sample has a gradient there.")
    return found, notes
