"""What a pass over the training set is: it prepares once, then turns a batch into columns, for one or more methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from torch import Tensor

from fvm_core.influence.task import Task

Report = Callable[[float, str], None]
"""report(units done since the last call, message)."""


@dataclass(frozen=True)
class Columns:
    """One method on one batch: `score` (b,) own sign; `suggested` (b,) or None; `label_scores` (b, c) or None;
    `label_exact` (b, c) or None."""

    score: Tensor
    suggested: Tensor | None = None
    label_scores: Tensor | None = None
    label_exact: Tensor | None = None


class Pass(Protocol):
    """`name` of the pass, `methods` it fills, `notes` for the provenance.

    A pass with `together = True` prepares on all workers of a shared job at once; else worker 0 prepares and hands out
    what it has made. `borrowed`, where a pass has it: seconds that an earlier pass of the job spent on what this one
    needs too.
    """

    name: str
    methods: tuple[str, ...]
    notes: list[str]

    def cost(self, task: Task) -> tuple[float, float]:
        """Return (units to prepare, units a row)."""
        ...

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        """Make what the rows need, or take it from `kept` (what an earlier call returned)."""
        ...

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        """Score samples x (b, ...) with labels y (b,), those at `task.rows`: here the task is of this batch alone."""
        ...
