"""Sharpness-aware minimisation (Foret et al., 2021), the flat-minimum solver of FVM."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError


def gradient_norm(parameters: Iterable[nn.Parameter]) -> Tensor:
    """Return ||g|| over all parameters together, a scalar tensor; parameters without a gradient count as zero."""
    norms = [torch.linalg.vector_norm(p.grad, dtype=torch.float64) for p in parameters if p.grad is not None]
    return torch.linalg.vector_norm(torch.stack(norms)) if norms else torch.zeros((), dtype=torch.float64)


@torch.no_grad()
def ascend(parameters: Iterable[nn.Parameter], *, rho: float) -> None:
    """Move the parameters from w to w + e, e = rho g / (||g|| + 1e-12), by their gradients g, in place."""
    parameters = list(parameters)
    scale = rho / (gradient_norm(parameters) + 1e-12)
    for parameter in parameters:
        if parameter.grad is not None:
            parameter.add_(parameter.grad * scale.to(parameter.dtype))


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


def sam_step(
    model: nn.Module, optimizer: torch.optim.Optimizer, loss_function: Callable[[], Tensor], *, rho: float
) -> Tensor:
    """Do one SAM step and return the loss at w, a scalar without a graph.

    `loss_function` computes the batch's loss by a forward pass of `model` in the mode it is in. It is called twice: at
    w, where BatchNorm updates its running statistics, and at w + e, after which every buffer is put back. Weights are
    then restored to w exactly and `optimizer` steps with the gradient from w + e: its weight decay acts on w alone and
    has no part in e. With rho = 0 this is a step of `optimizer` at twice the cost.

    Raises:
        SettingsError: `rho` < 0.
    """
    if rho < 0:
        raise SettingsError(f"`rho` must be >= 0, got {rho}.")
    optimizer.zero_grad(set_to_none=True)
    loss = loss_function()
    loss.backward()
    parameters = [parameter for group in optimizer.param_groups for parameter in group["params"]]
    with restored([*parameters, *model.buffers()]):
        ascend(parameters, rho=rho)
        optimizer.zero_grad(set_to_none=True)
        loss_function().backward()
    optimizer.step()
    return loss.detach()
