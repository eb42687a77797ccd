"""The Fisher of the validation set: made once in a job, shared among its workers, for every pass that needs it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from torch import Tensor

from fvm_core.distributed.fisher import shared_fisher
from fvm_core.distributed.meeting import meet
from fvm_core.distributed.workers import workers_of
from fvm_core.influence.passes.curvature import telling
from fvm_core.influence.passes.protocol import Report
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import MadeFisher, Task

EARLIER = ("error_influence", "typical_influence")
"""Methods of the pass that comes before the others and makes it, where they are asked for."""


def fisher_units(task: Task) -> float:
    """Return the units that a later pass takes for the Fisher: none where an earlier one has made it."""
    return 0.0 if set(EARLIER) & set(task.methods) else float(len(task.validation))


def borrowed(task: Task) -> float:
    """Return the seconds that an earlier pass has spent on the Fisher, to be asked before a pass makes it."""
    made = task.made_fisher
    return 0.0 if made is None else made.seconds


def validation_fisher(task: Task, engine: SquaredGradients, report: Report) -> dict[str, Any]:
    """Return {"fisher": {parameter: float64 (Eq. 24), on the CPU}, "fisher_seconds"}: what a pass keeps.

    A pass that calls this says `together = True`, so that all workers do; each goes over its share of the set. `report`
    hears of the samples done by all, as far as this worker can tell.
    """
    made = task.made_fisher
    if made is None:
        workers = workers_of(task.context)
        told = telling(report, "Fisher of the validation set")
        meet(task.context, "fisher")
        begin = time.perf_counter()
        fisher = shared_fisher(
            task.model, task.validation_batches(workers), workers, engine=engine,
            progress=lambda done: told(min(done * workers.size, len(task.validation))),
        )  # fmt: skip
        seconds = time.perf_counter() - begin
        made = MadeFisher(task.model, {name: value.cpu() for name, value in fisher.items()}, seconds)
    return {"fisher": made.fisher, "fisher_seconds": made.seconds}


def kept_fisher(task: Task, kept: Mapping[str, Any]) -> dict[str, Tensor]:
    """Return the Fisher out of what `validation_fisher` gave, on the model's device; later passes find it too."""
    if task.made_fisher is None:
        task.shared.fisher = MadeFisher(task.model, kept["fisher"], float(kept["fisher_seconds"]))
    device = next(task.model.parameters()).device
    return {name: value.to(device) for name, value in kept["fisher"].items()}
