"""The Fisher of the validation set, for passes that share this work among the workers of a job."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor

from fvm_core.distributed.fisher import shared_fisher
from fvm_core.distributed.meeting import meet
from fvm_core.distributed.workers import workers_of
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import Task


def validation_fisher(task: Task, engine: SquaredGradients, told: Callable[[int], None]) -> dict[str, Tensor]:
    """Return {parameter: float64 Fisher (Eq. 24)} of the validation set; each worker goes over its share of it.

    A pass that calls this says `together = True`, so that all workers do. `told` hears of the samples done by all, as
    far as this worker can tell.
    """
    workers = workers_of(task.context)
    meet(task.context, "fisher")
    return shared_fisher(
        task.model, task.validation_batches(workers), workers, engine=engine,
        progress=lambda done: told(min(done * workers.size, len(task.validation))),
    )  # fmt: skip
