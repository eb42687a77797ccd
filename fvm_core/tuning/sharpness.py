"""How sharp the loss is around the weights: along SAM's direction, and along random ones of the same length."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.tuning.evaluate import eval_mode
from fvm_core.tuning.sam import restored

LossFunction = Callable[[nn.Module], Tensor]


@dataclass(frozen=True)
class Sharpness:
    """Rises of the loss, in nats, at distance rho: `sam_gap` L(w + e) - L(w) along the gradient, and `random`.

    `random` is the mean over random e of (L(w + e) + L(w - e)) / 2 - L(w): by symmetry the same expectation as
    L(w + e) - L(w), without the slope's noise, which in many dimensions drowns the curvature. `loss` is L(w).
    """

    loss: float
    sam_gap: float
    random: float


def measure_sharpness(
    model: nn.Module, parts: Sequence[LossFunction], *, rho: float, directions: int, seed: int
) -> Sharpness:
    """Measure the sharpness of L = sum of `part(model)` over `parts` at radius `rho` (Foret et al., 2021, Eq. 1).

    The model is put into eval mode. Parts (one a batch, say) are differentiated one after the other, to bound memory.

    e = rho g / (||g|| + 1e-12) for the SAM gap; for the other, `directions` Gaussian vectors over all parameters
    scaled to length rho. Costs 2 directions + 2 forward passes and one backward. Weights, buffers, gradients, modes
    and the global random state are as before afterwards.

    Raises:
        SettingsError: `rho` < 0 or `directions` < 1.
    """
    if rho < 0:
        raise SettingsError(f"`rho` must be >= 0, got {rho}.")
    if directions < 1:
        raise SettingsError(f"`directions` must be >= 1, got {directions}.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    generator = torch.Generator().manual_seed(seed)
    with eval_mode(model), restored([*parameters, *model.buffers()]):
        loss, gradients = 0.0, [torch.zeros_like(parameter) for parameter in parameters]
        for part in parts:
            value = part(model)
            for total, share in zip(gradients, torch.autograd.grad(value, parameters, allow_unused=True), strict=True):
                if share is not None:
                    total += share
            loss += value.item()
        with torch.no_grad():
            gap = _moved_loss(model, parts, parameters, gradients, rho=rho) - loss
            rises = []
            for _ in range(directions):
                direction = [
                    torch.randn(p.shape, generator=generator, dtype=torch.float32).to(p.device, p.dtype)
                    for p in parameters
                ]
                ends = [_moved_loss(model, parts, parameters, direction, rho=sign * rho) for sign in (1, -1)]
                rises.append(sum(ends) / 2 - loss)
    return Sharpness(loss=loss, sam_gap=gap, random=sum(rises) / directions)


def _moved_loss(
    model: nn.Module,
    parts: Sequence[LossFunction],
    parameters: list[nn.Parameter],
    direction: list[Tensor],
    *,
    rho: float,
) -> float:
    squares = [torch.linalg.vector_norm(piece, dtype=torch.float64) for piece in direction]
    scale = rho / (torch.linalg.vector_norm(torch.stack(squares)) + 1e-12)
    with restored(parameters):
        for parameter, piece in zip(parameters, direction, strict=True):
            parameter.add_(piece * scale.to(parameter.dtype))
        return sum(part(model).item() for part in parts)
