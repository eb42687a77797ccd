"""The Fisher diagonal (Eq. 24) over all workers: each sums its share of the samples, then all-reduce in float64."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import chain

import torch
from torch import Tensor, nn

from fvm_core.distributed.workers import Workers
from fvm_core.errors import DataError
from fvm_core.influence.fisher import Batches, fisher_diagonal
from fvm_core.influence.per_sample import SquaredGradients


def shared_fisher(
    model: nn.Module,
    batches: Batches,
    workers: Workers,
    *,
    engine: SquaredGradients | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """Return `fisher_diagonal` of all workers' samples; `batches` are this worker's, and may be none.

    Every sample counts the same, however unevenly they are shared. All workers have to call it and get the same
    float64 tensors. `progress` is told this worker's samples done so far. One worker alone: `fisher_diagonal` itself.

    Raises:
        DataError: no worker has a sample.
        JobError: see `Workers.sum_`.
    """
    if workers.size == 1:
        return fisher_diagonal(model, batches, engine=engine, progress=progress)
    counted = _Counted(batches)
    head = next(counted, None)
    sums = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in model.named_parameters()}
    if head is not None:
        mean = fisher_diagonal(model, chain([head], counted), engine=engine, progress=progress)
        sums = {name: value * counted.samples for name, value in mean.items()}
    like = next(iter(sums.values()))
    flat = torch.cat([like.new_full((1,), counted.samples), *(value.reshape(-1) for value in sums.values())])
    total, *parts = workers.sum_(flat).split([1, *(value.numel() for value in sums.values())])
    if total.item() == 0:
        raise DataError("the validation set has no sample: the Fisher needs at least one. Choose another set.")
    return {name: part.view_as(sums[name]) / total for name, part in zip(sums, parts, strict=True)}


class _Counted:
    """Hands batches on and counts their samples."""

    def __init__(self, batches: Batches) -> None:
        self.samples = 0
        self._batches: Iterator[tuple[Tensor, Tensor]] = iter(batches)

    def __iter__(self) -> _Counted:
        return self

    def __next__(self) -> tuple[Tensor, Tensor]:
        x, y = next(self._batches)
        self.samples += len(x)
        return x, y
