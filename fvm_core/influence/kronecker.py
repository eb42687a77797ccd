"""K-FAC's two factors of a layer, and the eigenbasis they give (Martens & Grosse 2015; Grosse & Martens 2016)."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvm_core.errors import DataError
from fvm_core.influence.conv_patches import padded, patches
from fvm_core.influence.layers import Calls, LinearRule, widened
from fvm_core.influence.layers_conv import ConvRule
from fvm_core.influence.per_sample import SquaredGradients

LARGEST_SIDE = 8192
"""The longest side of a factor: its float64 matrix takes 512 MiB then. Layers beyond it have no factors."""

Batches = Iterable[tuple[Tensor, Tensor]]
Pull = Callable[[Tensor, Tensor], Tensor]
"""pull(logits, y) -> (b, c): the gradient at the logits that is sent back; `residuals` for the given labels."""


@dataclass(frozen=True)
class Basis:
    """`inner` (i, i) and `outer` (o, o): eigenvectors, as columns, of a layer's two factors. `names`: its parameters,
    the weight first, then the bias (if any), which is the last of the i inputs: the one that is always 1."""

    inner: Tensor
    outer: Tensor
    names: tuple[str, ...]


def sides(module: Any) -> tuple[int, int]:
    """Return (i, o): the inputs of one position of a Linear or convolution, the bias's 1 counted in, and its outputs.

    >>> sides(torch.nn.Conv2d(3, 8, 5)), sides(torch.nn.Linear(6, 2, bias=False))
    ((76, 8), (6, 2))
    """
    outputs = module.weight.shape[0]
    return module.weight.numel() // outputs + (module.bias is not None), outputs


def factored_layers(engine: SquaredGradients) -> dict[str, tuple[str, ...]]:
    """Return {layer: its parameters, weight first}: Linear and ungrouped convolutions within LARGEST_SIDE."""
    found = {}
    for layer, rule in engine.plan.rules.items():
        module: Any = engine.model.get_submodule(layer)
        fits = isinstance(rule, LinearRule) or (isinstance(rule, ConvRule) and module.groups == 1)
        if fits and max(sides(module)) <= LARGEST_SIDE:
            owned = engine.plan.owned[layer]
            found[layer] = tuple(owned[key] for key in ("weight", "bias") if key in owned)
    return found


def positions(module: Any, g: Tensor) -> int:
    """Return t, how often the layer's weight is used for one sample: g is the gradient (b, ...) at its output."""
    return g[0].numel() // module.weight.shape[0]


def unfolded(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Return (b, i, t): what the weight meets at each of t positions, with a row of ones for the bias."""
    if isinstance(module, torch.nn.Linear):
        columns = a.reshape(len(a), -1, a.shape[-1]).transpose(1, 2)
    else:
        columns = patches(module, padded(module, a), g.shape[2:]).reshape(len(a), -1, math.prod(g.shape[2:]))
    if module.bias is None:
        return columns
    return torch.cat([columns, columns.new_ones(len(columns), 1, columns.shape[2])], dim=1)


def output_gradient(module: Any, g: Tensor) -> Tensor:
    """Return (b, o, t): the gradient at the layer's output, position by position."""
    if isinstance(module, torch.nn.Linear):
        return g.reshape(len(g), -1, g.shape[-1]).transpose(1, 2)
    return g.flatten(2)


def kronecker_factors(
    engine: SquaredGradients, batches: Batches, pull: Pull, *, progress: Callable[[int], None] | None = None
) -> dict[str, tuple[Tensor, Tensor]]:
    """Return {layer: (A (i, i), S (o, o))} float64: means over samples of the sums over positions of a a^T and g g^T.

    a is the layer's input (1 appended where it has a bias), g the gradient at its output, in eval mode. A layer that
    runs several times in one pass sums over its runs too. Memory: 8 (i^2 + o^2) bytes a layer, all layers at once.

    Raises:
        DataError: no sample.
    """
    layers = factored_layers(engine)
    totals: dict[str, tuple[Tensor, Tensor]] = {}
    count = 0

    def consume(layer: str, indices: list[int], many: list[Calls]) -> None:
        module = engine.model.get_submodule(layer)
        for a, g in many[0]:
            _add(totals, layer, module, widened(a), widened(g), engine.budget)

    for x, y in batches:
        with engine.captured(x, layers) as (capture, logits):
            capture.backward(logits, [pull(logits.detach(), y)], consume)
        count += len(x)
        if progress:
            progress(count)
    if count == 0:
        raise DataError("the curvature has no sample: its factors need at least one. Choose another set.")
    return {name: (inner / count, outer / count) for name, (inner, outer) in totals.items()}


def _add(totals: dict[str, tuple[Tensor, Tensor]], layer: str, module: Any, a: Tensor, g: Tensor, budget: int) -> None:
    inputs, outputs = sides(module)
    if layer not in totals:
        totals[layer] = tuple(a.new_zeros(side, side, dtype=torch.float64) for side in (inputs, outputs))  # type: ignore[assignment]
    step = max(1, budget // (8 * (inputs + outputs) * positions(module, g)))
    for start in range(0, len(a), step):
        rows = slice(start, start + step)
        parts = unfolded(module, a[rows], g[rows]), output_gradient(module, g[rows])
        for total, part in zip(totals[layer], parts, strict=True):
            columns = part.transpose(0, 1).flatten(1)
            total += columns @ columns.t()


def eigenbases(
    factors: Mapping[str, tuple[Tensor, Tensor]],
    names: Mapping[str, Sequence[str]],
    *,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[str], None] | None = None,
) -> dict[str, Basis]:
    """Return {layer: Basis in `dtype`} from float64 eigendecompositions: about 10 (i^3 + o^3) operations a layer.

    Raises:
        DataError: a factor is not finite.
    """
    found = {}
    for layer, pair in factors.items():
        if progress:
            progress(layer)
        if not all(bool(torch.isfinite(factor).all()) for factor in pair):
            raise DataError(
                f"the Kronecker factors of layer `{layer}` are not finite: the model's outputs or gradients overflow. "
                "Check the model's normalisation, or use another checkpoint."
            )
        inner, outer = (torch.linalg.eigh(factor).eigenvectors.to(dtype) for factor in pair)
        found[layer] = Basis(inner, outer, tuple(names[layer]))
    return found
