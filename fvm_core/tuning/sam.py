"""Sharpness-aware minimisation (Foret et al., 2021), the flat-minimum solver of FVM; and the step its kin share."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor, nn

from fvm_core.tuning.solver import Stateless, descend, parameters_of, require_sizes


def norm_of(tensors: Iterable[Tensor]) -> Tensor:
    """Return the Euclidean norm over all `tensors` together, a float64 scalar; zero for none."""
    norms = [torch.linalg.vector_norm(tensor, dtype=torch.float64) for tensor in tensors]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros((), dtype=torch.float64)


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return ||g|| over all parameters together, a scalar tensor; parameters without a gradient count as zero."""
    return norm_of(p.grad for p in parameters if p.grad is not None)


@torch.no_grad()
def climb(parameters: Iterable[nn.Parameter], directions: Sequence[Tensor | None], *, rho: float) -> None:
    """Move the parameters by e = rho d / (||d|| + 1e-12), in place; None stands for a direction of zeros."""
    scale = rho / (norm_of(d for d in directions if d is not None) + 1e-12)
    for parameter, direction in zip(parameters, directions, strict=True):
        if direction is not None:
            parameter.add_(direction * scale.to(parameter.dtype))


def ascend(parameters: Iterable[nn.Parameter], *, rho: float) -> None:
    """Move the parameters from w to w + e, e = rho g / (||g|| + 1e-12), by their gradients g, in place."""
    parameters = list(parameters)
    climb(parameters, [parameter.grad for parameter in parameters], rho=rho)


@contextmanager
def restored(tensors: Iterable[Tensor]) -> Iterator[None]:
    """Whatever the block does to `tensors`, they come back bit for bit from a saved copy."""
    tensors = list(tensors)
    saved = [tensor.detach().clone() for tensor in tensors]
    try:
        yield
    finally:
        with torch.no_grad():
            for tensor, copy in zip(tensors, saved, strict=True):
                tensor.copy_(copy)


def two_pass_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[[], Tensor],
    move: Callable[[list[nn.Parameter]], None],
    *,
    clip_norm: float | None = None,
) -> Tensor:
    """Do the step that SAM and its kin share and return the loss at w, a scalar without a graph.

    `loss_function` computes the batch's loss by a forward pass of `model` in the mode it is in. It is called twice: at
    w, where BatchNorm updates its running statistics, and where `move` leaves the parameters (it finds the gradients at
    w in their `grad`), after which every buffer is put back. Weights are then restored to w exactly and `optimizer`
    steps with the second gradient, of norm `clip_norm` at most: clipping has no part in `move`, nor has weight decay.
    """
    optimizer.zero_grad(set_to_none=True)
    loss = loss_function()
    loss.backward()
    parameters = parameters_of(optimizer)
    with restored([*parameters, *model.buffers()]):
        move(parameters)
        optimizer.zero_grad(set_to_none=True)
        loss_function().backward()
    descend(optimizer, clip_norm=clip_norm)
    return loss.detach()


def sam_step(
    model: nn.Module,
    optimizer: torch.optim.Optimizer,
    loss_function: Callable[[], Tensor],
    *,
    rho: float,
    clip_norm: float | None = None,
) -> Tensor:
    """Do one SAM step (Eq. 14-16; see `two_pass_step`) and return the loss at w.

    With rho = 0 this is a step of `optimizer` at twice the cost.

    Raises:
        SettingsError: `rho` < 0, or `clip_norm` is not > 0.
    """
    require_sizes(rho=rho, clip_norm=clip_norm)
    return two_pass_step(model, optimizer, loss_function, partial(ascend, rho=rho), clip_norm=clip_norm)


@dataclass(frozen=True, kw_only=True)
class Sam(Stateless):
    """SAM with radius `rho`, a Euclidean length over all parameters together. Costs two steps of SGD.

    Raises:
        SettingsError: `rho` < 0, or `clip_norm` is not > 0.
    """

    rho: float
    clip_norm: float | None = None

    def __post_init__(self) -> None:
        require_sizes(rho=self.rho, clip_norm=self.clip_norm)

    def step(
        self, model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: Callable[[], Tensor], *, k: int
    ) -> Tensor:
        """Step along the gradient at w + e and return the loss at w."""
        return sam_step(model, optimizer, loss_function, rho=self.rho, clip_norm=self.clip_norm)
