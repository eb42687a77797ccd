"""s = g^T H_val^-1 g by LiSSA or DataInf through random vectors (C.4, Table 13), all labels at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from torch import Tensor

from fvm_core.influence.passes.datainf import DATAINF_UNITS, solve_datainf
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.solve_lissa import solve_lissa
from fvm_core.influence.passes.standard import signed_columns
from fvm_core.influence.random_vectors import random_vector, random_vector_scores
from fvm_core.influence.task import Task

Direction = dict[str, Tensor]


@dataclass
class RandomVectorsPass:
    """The mean of (g . H_val^-1 V)(V . g) over `random_vectors` draws V. Suggested label: the smallest score.

    Subclasses solve H_val x = V. The draws come from the seed, so a resumed job has the same ones.
    """

    name: str = ""
    methods: tuple[str, ...] = ()
    notes: list[str] = field(default_factory=list)

    def solve(self, task: Task, vectors: Sequence[Direction], report: Report) -> tuple[list[Direction], list[str]]:
        raise NotImplementedError

    def row_cost(self, task: Task) -> float:
        return 1.2 * task.settings.random_vectors

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        settings = task.settings
        vectors = [random_vector(task.model, seed=settings.seed, draw=k) for k in range(settings.random_vectors)]
        if kept is None:
            solved, notes = self.solve(task, vectors, report)
            said = f"The score is an estimate from {len(vectors)} random vectors: it may be negative. More of them " + (
                "(`random_vectors`) make it steadier."
            )
            found = [{name: value.cpu() for name, value in one.items()} for one in solved]
            kept = {"solved": found, "notes": [said, *notes]}
        device = next(task.model.parameters()).device
        back = [{name: value.to(device) for name, value in one.items()} for one in kept["solved"]]
        self.pairs = list(zip(vectors, back, strict=True))
        self.notes = list(kept["notes"])
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        scores = random_vector_scores(task.model, x, self.pairs)
        return {self.name: signed_columns(self.name, scores, task, y)}


@dataclass
class RandomLissaPass(RandomVectorsPass):
    """With LiSSA on mini-batches of the validation set."""

    name: str = "influence_lissa"
    methods: tuple[str, ...] = ("influence_lissa",)

    def cost(self, task: Task) -> tuple[float, float]:
        settings = task.settings
        steps = settings.lissa_depth * settings.lissa_repeats * settings.random_vectors
        return 3.0 * steps * self._size(task), self.row_cost(task)

    def solve(self, task: Task, vectors: Sequence[Direction], report: Report) -> tuple[list[Direction], list[str]]:
        size = self._size(task)

        def fetch(step: int) -> tuple[Tensor, Tensor]:
            generator = np.random.default_rng([task.settings.seed, step])
            return task.validation.batch(np.sort(generator.choice(len(task.validation), size, replace=False)))

        solved = solve_lissa(task, fetch, size, vectors, report)
        return solved.values, [solved.note]

    def _size(self, task: Task) -> int:
        return min(task.settings.batch_size, len(task.validation))


@dataclass
class RandomDataInfPass(RandomVectorsPass):
    """With DataInf over the validation samples."""

    name: str = "influence_datainf"
    methods: tuple[str, ...] = ("influence_datainf",)

    def cost(self, task: Task) -> tuple[float, float]:
        return DATAINF_UNITS * len(task.validation), self.row_cost(task)

    def solve(self, task: Task, vectors: Sequence[Direction], report: Report) -> tuple[list[Direction], list[str]]:
        return solve_datainf(task, task.validation_batches, vectors, report)
