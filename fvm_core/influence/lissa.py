"""LiSSA: an inverse-Hessian-vector product by a recursion over mini-batches (Agarwal et al. 2017, Koh & Liang 2017)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError

Vector = list[Tensor]
Product = Callable[[Vector, int], Vector]
"""product(r, step): the Hessian of the training loss on the mini-batch of this step, times r."""

GROWTH = 10.0


@dataclass(frozen=True)
class InverseProduct:
    """`value`: H^-1 v, one tensor a parameter. `change`: relative length of the last step, small = converged."""

    value: Vector
    change: float


def lissa(
    product: Product,
    v: Vector,
    *,
    depth: int,
    scale: float,
    damping: float,
    repeats: int = 1,
    progress: Callable[[int], None] | None = None,
) -> InverseProduct:
    """Return r / scale after `depth` steps r <- v + (1 - damping) r - H r / scale, the mean over `repeats`.

    The limit is (H + damping * scale)^-1 v. Step t of repeat i asks for the mini-batch number i * depth + t.

    Raises:
        SettingsError: the recursion grows or is not finite, which means `lissa_scale` is below half of the top
            eigenvalue, or H has eigenvalues below -damping * scale.
    """
    size = _norm(v)
    mean = [torch.zeros_like(part) for part in v]
    change = 0.0
    for repeat in range(repeats):
        r = [part.clone() for part in v]
        for step in range(depth):
            image = product(r, repeat * depth + step)
            new = [a + (1 - damping) * b - c / scale for a, b, c in zip(v, r, image, strict=True)]
            length = _norm(new)
            # With 0 <= H <= scale the length after t steps is at most (t + 1) |v|.
            if not math.isfinite(length) or length > GROWTH * (step + 2) * max(size, 1e-30):
                raise SettingsError(
                    f"`lissa_scale` must be large enough for the recursion to shrink, got {scale:g}: at step "
                    f"{step + 1} the estimate is {length / max(size, 1e-30):.3g} times the gradient's length. "
                    "Raise `lissa_scale` (or leave it empty for an automatic one), or raise `lissa_damping`."
                )
            change = _norm([a - b for a, b in zip(new, r, strict=True)]) / max(length, 1e-30)
            r = new
            if progress:
                progress(repeat * depth + step + 1)
        for total, part in zip(mean, r, strict=True):
            total += part / (scale * repeats)
    return InverseProduct(mean, change)


def hessian_product(
    model: nn.Module, fetch: Callable[[int], tuple[Tensor, Tensor]], parameters: Sequence[Tensor]
) -> Product:
    """Return product(r, step): Hessian of the mean cross-entropy over fetch(step) = (x, y) times r, by autograd twice.

    The model has to be in eval mode; `parameters` require gradients. Cost: about two forward and backward passes.
    """

    def product(r: Vector, step: int) -> Vector:
        x, y = fetch(step)
        with torch.enable_grad():
            loss = F.cross_entropy(model(x), y)
            grads = torch.autograd.grad(loss, parameters, create_graph=True, materialize_grads=True, allow_unused=True)
            inner = torch.stack([(g * part).sum() for g, part in zip(grads, r, strict=True)]).sum()
            return list(torch.autograd.grad(inner, parameters, materialize_grads=True, allow_unused=True))

    return product


def _norm(v: Sequence[Tensor]) -> float:
    return float(torch.stack([part.double().square().sum() for part in v]).sum().sqrt())
