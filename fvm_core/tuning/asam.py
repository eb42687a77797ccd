"""Adaptive SAM (Kwon et al., 2021): a neighbourhood that scales with the weights, blind to how layers are scaled."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.tuning.sam import norm_of, two_pass_step
from fvm_core.tuning.solver import Stateless, require_sizes


def weight_ids(model: nn.Module) -> set[int]:
    """Return the id() of every parameter whose own name holds `weight`: linear, convolutional and norm layers' scales.

    Biases and free parameters (position embeddings, class tokens) are moved as in SAM.
    """
    return {id(parameter) for name, parameter in model.named_parameters() if "weight" in name.rpartition(".")[2]}


@torch.no_grad()
def ascend_adaptively(parameters: list[nn.Parameter], weights: Collection[int], *, rho: float, eta: float) -> None:
    """Move the parameters by e = rho T^2 g / (||T g|| + 1e-16), in place; T = |w| + eta, and 1 outside `weights`.

    `weights` are ids of parameters. T is diagonal and `eta` keeps weights near zero moving.
    """
    moved, scaled = [], []
    for parameter in parameters:
        if parameter.grad is not None:
            t = parameter.abs() + eta if id(parameter) in weights else None
            moved.append((parameter, t))
            scaled.append(parameter.grad if t is None else parameter.grad * t)
    scale = rho / (norm_of(scaled) + 1e-16)
    for (parameter, t), gradient in zip(moved, scaled, strict=True):
        step = gradient * scale.to(parameter.dtype)
        parameter.add_(step if t is None else step * t)


@dataclass(frozen=True, kw_only=True)
class Asam(Stateless):
    """ASAM with radius `rho` in units of T, so ||e / T|| = rho, and `eta` >= 0. Costs two steps of SGD.

    Multiplying one layer's weights by a and dividing the next one's by a changes nothing in what it sees (eta = 0).

    Raises:
        SettingsError: `rho` or `eta` < 0, or `clip_norm` is not > 0.
    """

    rho: float
    eta: float = 0.01
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require_sizes(rho=self.rho, eta=self.eta, clip_norm=self.clip_norm)

    def step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: Callable[[], Tensor], *, k: int
    ) -> Tensor:
        """Step along the gradient at w + e and return the loss at w."""
        weights = weight_ids(model)

        def move(parameters: list[nn.Parameter]) -> None:
            ascend_adaptively(parameters, weights, rho=self.rho, eta=self.eta)

        return two_pass_step(model, optimizer, loss_function, move, clip_norm=self.clip_norm)
