"""Plain stochastic gradient descent, the solver of VM."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.tuning.solver import Stateless, descend, require_sizes


@dataclass(frozen=True, kw_only=True)
class Sgd(Stateless):
    """One forward and backward pass a step (paper B.1, VM). `clip_norm` bounds the gradient's norm, None does not.

    Raises:
        SettingsError: `clip_norm` is not > 0.
    """

    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require_sizes(clip_norm=self.clip_norm)

    def step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: Callable[[], Tensor], *, k: int
    ) -> Tensor:
        """Step along the gradient at w and return the loss there."""
        optimizer.zero_grad(set_to_none=True)
        loss = loss_function()
        loss.backward()
        descend(optimizer, clip_norm=self.clip_norm)
        return loss.detach()
