"""The top eigenvalue of the loss's Hessian by power iteration, never building the (p, p) matrix."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.tuning.evaluate import eval_mode

Batch = tuple[Tensor, Tensor]
Vector = list[Tensor]
Product = Callable[[Vector], Vector]


@dataclass(frozen=True)
class Eigenvalue:
    """`value`: the largest eigenvalue (algebraically) as a Rayleigh quotient, a lower bound of the true one.

    `residual`: ||H v - value v||; some eigenvalue lies within it of `value`. `products`: Hessian-vector products spent.
    """

    value: float
    residual: float
    products: int


def top_eigenvalue(
    model: nn.Module, batches: Sequence[Batch], *, iterations: int = 30, seed: int = 0, tolerance: float = 1e-3
) -> Eigenvalue:
    """Return the top eigenvalue of the Hessian of the mean cross-entropy over `batches` [(x, y), ...], in eval mode.

    Power iteration stops when the Rayleigh quotient changes by less than `tolerance` (relative) or after `iterations`
    products. It finds the eigenvalue of largest magnitude; when that is negative, H is shifted by it and the iteration
    runs again for the top one. A product costs about two forward and two backward passes over `batches`. Weights,
    buffers, gradients, modes and the global random state stay as they are.

    Raises:
        SettingsError: `iterations` < 1, or no samples.
    """
    if iterations < 1:
        raise SettingsError(f"`iterations` must be >= 1, got {iterations}.")
    if sum(len(y) for _, y in batches) == 0:
        raise SettingsError("`batches` must hold at least one sample, got none.")
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    with eval_mode(model), torch.enable_grad():
        product = _product(model, batches, parameters)
        found = power_iteration(product, parameters, iterations=iterations, seed=seed, tolerance=tolerance)
        if found.value >= 0:
            return found
        lowest = found.value
        shifted = power_iteration(
            lambda v: [hv - lowest * part for hv, part in zip(product(v), v, strict=True)],
            parameters,
            iterations=iterations,
            seed=seed + 1,
            tolerance=tolerance,
        )
    return Eigenvalue(shifted.value + lowest, shifted.residual, found.products + shifted.products)


def _product(model: nn.Module, batches: Sequence[Batch], parameters: Sequence[Tensor]) -> Product:
    total = sum(len(y) for _, y in batches)

    def product(v: Vector) -> Vector:
        result = [torch.zeros_like(part) for part in v]
        for x, y in batches:
            loss = F.cross_entropy(model(x), y, reduction="sum") / total
            gradients = torch.autograd.grad(loss, parameters, create_graph=True, allow_unused=True)
            inner = sum((g * part).sum() for g, part in zip(gradients, v, strict=True) if g is not None)
            rows = torch.autograd.grad(inner, parameters, allow_unused=True)  # type: ignore[arg-type]
            for kept, row in zip(result, rows, strict=True):
                if row is not None:
                    kept += row
        return result

    return product


def power_iteration(
    product: Product, like: Sequence[Tensor], *, iterations: int, seed: int, tolerance: float
) -> Eigenvalue:
    """Return the eigenvalue of largest magnitude of the symmetric operator `product`, from a Gaussian start vector.

    `like` gives shapes, dtypes and devices of the vector's parts.
    """
    generator = torch.Generator().manual_seed(seed)
    v = _unit([torch.randn(part.shape, generator=generator).to(part.device, part.dtype) for part in like])
    value, products = 0.0, 0
    image = v
    for products in range(1, iterations + 1):
        image = [part.detach() for part in product(v)]
        previous, value = value, _dot(v, image)
        if products > 1 and abs(value - previous) <= tolerance * abs(value):
            break
        if products < iterations and _dot(image, image) > 0:
            v = _unit(image)
    residual = _dot(image, image) - value * value
    return Eigenvalue(value, max(residual, 0.0) ** 0.5, products)


def _dot(a: Vector, b: Vector) -> float:
    return float(sum((x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)))


def _unit(v: Vector) -> Vector:
    norm = _dot(v, v) ** 0.5
    return [part / norm for part in v]
