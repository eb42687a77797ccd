"""The diagonal of the empirical Fisher on the validation set (Eq. 24)."""

from __future__ import annotations

from collections.abc import Callable, Iterable

import torch
from torch import Tensor, nn

from fvm_core.errors import DataError
from fvm_core.influence.per_sample import SquaredGradients

Batches = Iterable[tuple[Tensor, Tensor]]


def fisher_diagonal(
    model: nn.Module,
    batches: Batches,
    *,
    engine: SquaredGradients | None = None,
    progress: Callable[[int], None] | None = None,
) -> dict[str, Tensor]:
    """Return {parameter: float64 tensor of its shape}: the mean over `v` validation samples of g_p^2 >= 0.

    g is the gradient of one sample's cross-entropy with its given label, in eval mode. `batches` yields x (b, ...) and
    y (b,). `progress` is told the samples done so far. Batches may have any sizes: every sample counts the same.

    Raises:
        DataError: no sample.
    """
    totals = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in model.named_parameters()}
    count = 0
    for x, y in batches:
        engine = engine or SquaredGradients(model, x)
        engine.sums(x, y, totals)
        count += len(x)
        if progress:
            progress(count)
    if count == 0:
        raise DataError("the validation set has no sample: the Fisher needs at least one. Choose another set.")
    return {name: value.detach() / count for name, value in totals.items()}
