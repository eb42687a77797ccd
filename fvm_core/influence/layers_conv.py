"""Exact per-sample gradients of convolutions in 1 to 3 axes: any groups, stride, dilation, padding and its mode."""

from __future__ import annotations

import itertools
import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence.layers import Rule


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
    """Conv1d, 2d, 3d: G = B A^T over unfolded patches, group by group; elementwise where a group has one input."""

    forward_of = (nn.Conv1d, nn.Conv2d, nn.Conv3d)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) == len(module.kernel_size) + 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        unfolded = module.in_channels * math.prod(module.kernel_size) * math.prod(g.shape[2:])
        return unfolded + module.weight.numel() + a[0].numel()

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        rows, groups, positions = g.shape[0], module.groups, g.shape[2:]
        inner = module.in_channels // groups
        view = patches(module, padded(module, a), positions)
        b = g.reshape(rows * groups, -1, math.prod(positions))
        if inner == 1 and groups > 1:
            weight = self._single(module, view, g)
        else:
            unfolded = view.reshape(rows * groups, -1, math.prod(positions))
            weight = torch.bmm(b, unfolded.transpose(1, 2))
        out = {"weight": weight.reshape(rows, -1)}
        if module.bias is not None:
            out["bias"] = g.flatten(2).sum(2)
        return out

    @staticmethod
    def _single(module: Any, view: Tensor, g: Tensor) -> Tensor:
        """One input channel a group (depthwise): sum of products at each place of the kernel, (b, out, *kernel)."""
        rows, groups = g.shape[0], module.groups
        wide = g.reshape(rows, groups, -1, *g.shape[2:])
        weight = g.new_empty(rows, groups, wide.shape[2], *module.kernel_size)
        places: Any = itertools.product(*(range(k) for k in module.kernel_size))
        for place in places:
            here = view[:, :, :, *place]
            weight[..., *place] = (wide * here).flatten(3).sum(3)
        return weight
