"""What a solver is: one tuning step from a batch's loss, with whatever it must remember between steps."""

from __future__ import annotations

import math
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError


class LossFunction(Protocol):
    """The mean loss of one batch, by a forward pass of the model in the mode it is in.

    `loss_function()` is the mean over the whole batch, `loss_function(rows)` over the samples `rows`, a slice of
    0..size. The same rows at the same weights give the same loss (dropout draws one mask). It enters autocast itself,
    once a call: an autocast around two calls would hand the second one the first one's weights from its cache.
    """

    @property
    def size(self) -> int:
        """Samples in the batch."""

    def __call__(self, rows: slice | None = None) -> Tensor: ...


class Solver(Protocol):
    """Does one tuning step at a time. What it remembers is kept in the loop's state beside model and optimizer."""

    def step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: LossFunction, *, k: int
    ) -> Tensor:
        """Do step `k` (from 0): gradients by `loss_function`, weights by `optimizer`, learning rate as it is set there.

        Returns the batch's loss at the weights w before the step, a scalar without a graph. BatchNorm's running
        statistics see every sample once. A pure function of model, optimizer, batch, k and the solver's state.
        """

    def state_dict(self) -> dict[str, Any]:
        """Return what the next steps depend on: tensors, numbers, lists; empty for most solvers."""

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on from what `state_dict` returned."""


class Stateless:
    """A solver that remembers nothing."""

    def state_dict(self) -> dict[str, Any]:
        return {}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Nothing to bring back."""


def parameters_of(optimizer: torch.optim.Optimizer) -> list[nn.Parameter]:
    """Return the parameters that `optimizer` steps, in its order."""
    return [parameter for group in optimizer.param_groups for parameter in group["params"]]


def descend(optimizer: torch.optim.Optimizer, *, clip_norm: float | None) -> None:
    """Step with the gradients as they are; if longer than `clip_norm` (over all parameters together), scaled to it.

    Weight decay is the optimizer's and is not clipped. `clip_norm` None switches clipping off.
    """
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(parameters_of(optimizer), clip_norm)
    optimizer.step()


def require_sizes(**values: float | None) -> None:
    """Check that every value is a finite number >= 0; `clip_norm` alone may be None and must be > 0.

    Raises:
        SettingsError: naming the value.

    >>> require_sizes(rho=-0.1)
    Traceback (most recent call last):
    fvm_core.errors.SettingsError: `rho` must be >= 0, got -0.1.
    """
    for name, value in values.items():
        if name == "clip_norm":
            if value is not None and not 0 < value < math.inf:
                raise SettingsError(f"`clip_norm` must be > 0, or none to switch clipping off, got {value}.")
        elif value is None or not 0 <= value < math.inf:
            raise SettingsError(f"`{name}` must be >= 0, got {value}.")
