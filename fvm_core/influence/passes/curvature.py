"""Which training samples the sums over the training set run over, and how preparations report their progress."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from fvm_core.influence.passes.protocol import Report
from fvm_core.influence.task import Task


def curvature_rows(task: Task) -> NDArray[np.int64]:
    """Return positions in the whole training set, ascending: all, or `curvature_samples` drawn by the seed."""
    wanted, whole = task.settings.curvature_samples, np.arange(len(task.train), dtype=np.int64)
    if wanted is None or wanted >= len(whole):
        return whole
    return np.sort(np.random.default_rng([task.settings.seed, len(whole)]).choice(whole, wanted, replace=False))


def curvature_batches(task: Task) -> Iterator[tuple[Tensor, Tensor]]:
    """Yield the samples at `curvature_rows` once, in order, with their given labels."""
    rows = curvature_rows(task)
    for start in range(0, len(rows), task.settings.batch_size):
        yield task.train.batch(rows[start : start + task.settings.batch_size])


def curvature_note(task: Task) -> list[str]:
    """Return a sentence when the sums run over a part of the training set only."""
    count = len(curvature_rows(task))
    if count == len(task.train):
        return []
    return [f"Sums over the training set run over {count:,} of its {len(task.train):,} samples, drawn by the seed."]


def telling(report: Report, message: str, *, each: float = 1.0) -> Callable[[int], None]:
    """Return a progress callback for samples done so far: it reports `each` units for every new one."""
    seen = 0

    def told(done: int) -> None:
        nonlocal seen
        units, seen = each * (done - seen), done
        report(units, message)

    return told
