"""Friendly SAM (Li et al., 2024): climb along the batch's own noise, not along the gradient of the whole set."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.tuning.sam import climb, two_pass_step
from fvm_core.tuning.solver import require_sizes


@dataclass(kw_only=True)
class FSam:
    """F-SAM with radius `rho`: e = rho d / (||d|| + 1e-12), d = g - sigma m, then m <- lambda m + (1 - lambda) g.

    m, a moving average of the gradients at w, estimates the gradient of the whole set: one more copy of the parameters.
    The first step is plain SAM and starts m at its gradient. With sigma = 0 every step is SAM. Costs two steps of SGD.

    Raises:
        SettingsError: `rho` or `sigma` < 0, `lambda_` not in [0, 1), or `clip_norm` is not > 0.
    """

    rho: float
    sigma: float = 1.0
    lambda_: float = 0.9
    clip_norm: float | None = None
    average: list[Tensor] | None = field(default=None, init=False)

    def __post_init__(self) -> None:
        require_sizes(rho=self.rho, sigma=self.sigma, clip_norm=self.clip_norm)
        if not 0 <= self.lambda_ < 1:
            raise SettingsError(f"`lambda_` must be in [0, 1), got {self.lambda_}.")

    def step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: Callable[[], Tensor], *, k: int
    ) -> Tensor:
        """Step along the gradient at w + e and return the loss at w."""
        return two_pass_step(model, optimizer, loss_function, self._move, clip_norm=self.clip_norm)

    @torch.no_grad()
    def _move(self, parameters: list[nn.Parameter]) -> None:
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        if self.average is None:
            directions, self.average = gradients, [gradient.clone() for gradient in gradients]
        else:
            self.average = [m.to(gradient.device) for m, gradient in zip(self.average, gradients, strict=True)]
            directions = [g - self.sigma * m for g, m in zip(gradients, self.average, strict=True)]
            for m, gradient in zip(self.average, gradients, strict=True):
                m.mul_(self.lambda_).add_(gradient, alpha=1 - self.lambda_)
        climb(parameters, directions, rho=self.rho)

    def state_dict(self) -> dict[str, Any]:
        """Return m, one tensor for each of the optimizer's parameters, or None before the first step."""
        return {"average": self.average}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with a copy of the m that `state_dict` returned; it moves to the parameters' device by itself."""
        kept = state["average"]
        self.average = None if kept is None else [tensor.clone() for tensor in kept]
