"""GEX (Kim et al. 2023): how far a sample's loss moves when the model is tuned, over a geometric ensemble."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.influence.baselines import loss_scores
from fvm_core.influence.capture import evaluating

FLOOR = 0.05
"""Nats. A smaller loss before the tuning counts as this much, so that memorised labels are all alike."""


def squared_shift(before: Tensor, after: Tensor) -> Tensor:
    """Return (after - max(before, 0.05))^2 >= 0, elementwise: losses in nats under the model and under one member.

    The mean over members is GEX's score. **Large = likely mislabeled**: tuning on clean data brings the loss of a
    wrong label that was memorised up.

    Raises:
        SettingsError: the shapes differ.

    >>> squared_shift(torch.tensor([0.0, 2.0]), torch.tensor([3.05, 1.0]))
    tensor([9., 1.])
    """
    if before.shape != after.shape:
        raise SettingsError(
            f"`before` and `after` must have one shape, got {tuple(before.shape)}, {tuple(after.shape)}"
        )
    return (after - before.clamp(min=FLOOR)).square()


def label_losses(model: nn.Module, x: Tensor) -> Tensor:
    """Return (b, c) float64 cross-entropy in nats for every label, in eval mode."""
    with evaluating(model), torch.no_grad():
        return loss_scores(model(x))
