"""Exact per-sample gradients of convolutions in 1 to 3 axes: any groups, stride, dilation, padding and its mode."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence.layers import Calls, Rule, contract

MANY_POSITIONS = 64


def padded(module: Any, a: Tensor) -> Tensor:
    """Return the input with the module's padding made explicit, so that a convolution without padding remains."""
    axes = len(module.kernel_size)
    if isinstance(module.padding, str):
        totals = [
            d * (k - 1) if module.padding == "same" else 0
            for d, k in zip(module.dilation, module.kernel_size, strict=True)
        ]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(width, width) for width in module.padding]
    if not any(left or right for left, right in sides):
        return a
    flat = [width for axis in reversed(range(axes)) for width in sides[axis]]
    return F.pad(a, flat, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)


def patches(module: Any, a: Tensor, positions: torch.Size) -> Tensor:
    """Return a view (b, groups, in/groups, *kernel, *positions) of a padded input."""
    a = a.contiguous()
    batch, channels, steps = a.stride(0), a.stride(1), a.stride()[2:]
    inner = module.in_channels // module.groups
    shape = (a.shape[0], module.groups, inner, *module.kernel_size, *positions)
    strides = (
        batch, channels * inner, channels,
        *(step * d for step, d in zip(steps, module.dilation, strict=True)),
        *(step * s for step, s in zip(steps, module.stride, strict=True)),
    )  # fmt: skip
    return a.as_strided(shape, strides)


class ConvRule(Rule):
    """Conv1d, 2d, 3d, in whichever of three exact ways is fastest for the shape."""

    forward_of = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    together = True

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) == len(module.kernel_size) + 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        unfolded = module.in_channels * math.prod(module.kernel_size) * math.prod(g.shape[2:])
        return unfolded + module.weight.numel() + a[0].numel()

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        rows = g.shape[0]
        if _grouped_is_faster(module, a, g):
            weight = by_grouped_convolution(module, a, g)
        elif module.groups > 1 and module.groups == module.in_channels:
            weight = by_products(module, a, g)
        else:
            weight = by_patches(module, a, g)
        out = {"weight": weight.reshape(rows, -1)}
        if module.bias is not None:
            out["bias"] = g.flatten(2).sum(2)
        return out

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        """As `weighted` for each: the patches are unfolded once and meet all output gradients in one product."""
        (a, g), m = many[0][0], len(many)
        floats = self.floats(module, a, g) + m * (module.weight.numel() + 2 * g[0].numel())
        if m == 1 or module.groups > 1 or any(len(calls) > 1 for calls in many) or 4 * floats > budget:
            return super().weighted_many(module, many, weights, budget)
        step = budget // (4 * floats)
        out = [{name: a.new_zeros(len(a)) for name in weights} for _ in many]
        for start in range(0, len(a), step):
            rows = slice(start, start + step)
            pulls = torch.stack([calls[0][1][rows].flatten(2) for calls in many], dim=1)
            b = pulls.shape[0]
            unfolded = patches(module, padded(module, a[rows]), g.shape[2:]).reshape(b, -1, pulls.shape[3])
            grads = {"weight": torch.bmm(pulls.flatten(1, 2), unfolded.transpose(1, 2)).view(b * m, -1)}
            if module.bias is not None:
                grads["bias"] = pulls.sum(3).view(b * m, -1)
            for name, weight in weights.items():
                for index, found in enumerate(contract(grads[name].square_(), weight.reshape(-1)).view(b, m).unbind(1)):
                    out[index][name][rows] = found
        return out


def _grouped_is_faster(module: Any, a: Tensor, g: Tensor) -> bool:
    """Return whether oneDNN's grouped convolution beats unfolding (measured): many positions, not few inputs."""
    if module.groups == 1 and module.in_channels < 8:
        return False
    known = a.device.type == "cpu" and a.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    return known and math.prod(g.shape[2:]) >= MANY_POSITIONS


def by_grouped_convolution(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Return (b * out, in/groups, *kernel): samples laid side by side as groups, one weight gradient for all."""
    axes = len(module.kernel_size)
    rows = g.shape[0]
    explicit = isinstance(module.padding, str) or module.padding_mode != "zeros"
    a = padded(module, a) if explicit else a
    padding = [0] * axes if explicit else list(module.padding)
    return torch.ops.aten.convolution_backward(
        g.reshape(1, -1, *g.shape[2:]), a.reshape(1, -1, *a.shape[2:]),
        a.new_empty(rows * module.out_channels, *module.weight.shape[1:]), None,
        list(module.stride), padding, list(module.dilation), False, [0] * axes, rows * module.groups,
        [False, True, False],
    )[1]  # fmt: skip


def by_patches(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Return (b * groups, out/groups, in/groups * kernel): G = B A^T over unfolded patches, group by group."""
    positions = g.shape[2:]
    batch = g.shape[0] * module.groups
    unfolded = patches(module, padded(module, a), positions).reshape(batch, -1, math.prod(positions))
    return torch.bmm(g.reshape(batch, -1, math.prod(positions)), unfolded.transpose(1, 2))


def by_products(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Return (b, groups, out/groups, *kernel) where each group has one input channel: products summed at each place."""
    view = patches(module, padded(module, a), g.shape[2:])
    wide = g.reshape(g.shape[0], module.groups, -1, *g.shape[2:])
    weight = g.new_empty(*wide.shape[:3], *module.kernel_size)
    places: Any = itertools.product(*(range(k) for k in module.kernel_size))
    for place in places:
        here = view[:, :, :, *place]
        weight[..., *place] = (wide * here).flatten(3).sum(3)
    return weight
