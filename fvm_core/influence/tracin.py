"""TracIn (Pruthi et al. 2020): first-order influence summed over the checkpoints of a training run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeVar

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.influence.standard import standard_scores

Kept = TypeVar("Kept")
Term = tuple[nn.Module, Mapping[str, Tensor]]
"""A model at one checkpoint, and {parameter: lr * g_val} there."""


def evenly(items: Sequence[Kept], number: int) -> list[Kept]:
    """Return `number` of the items, evenly spaced and the last among them; all, if there are no more.

    Raises:
        SettingsError: `number` < 1.

    >>> evenly([10, 20, 30, 40, 50, 60, 70, 80, 90, 100], 5), evenly([2, 4, 6, 8], 5)
    ([20, 40, 60, 80, 100], [2, 4, 6, 8])
    """
    if number < 1:
        raise SettingsError(f"`number` must be >= 1, got {number}.")
    count = min(number, len(items))
    return [items[round((place + 1) * len(items) / count) - 1] for place in range(count)]


def tracin_scores(terms: Sequence[Term], x: Tensor) -> Tensor:
    """Return (b, c) float64: the sum over checkpoints t of lr_t g_val(t) . g_(x, k)(t), for every label k.

    **Low (negative) = likely mislabeled**: to first order the fall of the mean validation loss when each checkpoint
    takes one SGD step on the sample alone. Gradients are of cross-entropy, in eval mode. Cost: one forward-mode pass a
    checkpoint, whatever the number of labels.

    Raises:
        SettingsError: no term.
    """
    if not terms:
        raise SettingsError("`terms` must hold at least one checkpoint, got none.")
    return torch.stack([standard_scores(model, x, direction)[0] for model, direction in terms]).sum(0)
