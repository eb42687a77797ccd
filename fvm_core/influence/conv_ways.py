"""Ways from a convolution's input and output gradient to its per-sample gradients, and the fastest of them by shape.

All take the gradients g (b, m * out, *positions) of one or of m labels at once.
"""

from __future__ import annotations

import itertools
import math
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from fvm_core.influence.conv_patches import channel_patches, padded, patches
from fvm_core.influence.scratch import Scratch

MANY_POSITIONS, FEW_CHANNELS = 128, 32
"""From so many positions, below so many channels (or with groups of any size), oneDNN's grouped convolution beats
copied patches and a matrix product (measured on AVX2)."""

SHORT_RUN = 8
"""Channels below which patches are copied along the positions instead."""


class Ways(StrEnum):
    """GROUPED: samples side by side as groups of one convolution. CHANNELS, POSITIONS: a matrix product with copied
    patches, laid out along the channels or along the positions. PRODUCTS: for one input channel a group."""

    GROUPED, CHANNELS, POSITIONS, PRODUCTS = "grouped", "channels", "positions", "products"

    @property
    def copies(self) -> bool:
        """Whether patches are copied, once for all labels."""
        return self in (Ways.CHANNELS, Ways.POSITIONS)


def way_for(module: Any, a: Tensor, g: Tensor) -> Ways:
    """Return the fastest way for these shapes, whatever the number of samples and labels."""
    grouped, inner = module.groups > 1, module.in_channels // module.groups
    if not grouped and math.prod(module.kernel_size) == 1 and inner >= SHORT_RUN:
        return Ways.CHANNELS
    fast = a.device.type == "cpu" and a.dtype == torch.float32 and torch.backends.mkldnn.is_available()
    suited = grouped or SHORT_RUN <= inner < FEW_CHANNELS
    if fast and suited and g.shape[2:].numel() >= MANY_POSITIONS:
        return Ways.GROUPED
    if grouped and inner == 1:
        return Ways.PRODUCTS
    return Ways.POSITIONS if inner < SHORT_RUN else Ways.CHANNELS


def by_way(way: Ways, module: Any, a: Tensor, g: Tensor, scratch: Scratch) -> Tensor:
    """Return (b, m * weight's elements): in the parameter's order, or `turned` where the way is CHANNELS."""
    if way is Ways.GROUPED:
        return by_grouped_convolution(module, a, g)
    if way is Ways.PRODUCTS:
        return by_products(module, a, g)
    return by_columns(columns_of(way, module, a, g.shape[2:], scratch), g, module.groups, scratch)


def turned(module: Any, weight: Tensor, *, back: bool = False) -> Tensor:
    """Return (b, elements) with each filter's channels moved last, or `back` first."""
    inner, kernel = module.weight.shape[1], math.prod(module.kernel_size)
    shape = (len(weight), -1, kernel, inner) if back else (len(weight), -1, inner, kernel)
    return weight.view(shape).transpose(2, 3).flatten(1)


def by_grouped_convolution(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Samples laid side by side as groups: one weight gradient of a grouped convolution is that of each sample."""
    axes = len(module.kernel_size)
    rows, filters = g.shape[:2]
    explicit = isinstance(module.padding, str) or module.padding_mode != "zeros"
    a = padded(module, a) if explicit else a
    padding = [0] * axes if explicit else list(module.padding)
    return torch.ops.aten.convolution_backward(
        g.reshape(1, -1, *g.shape[2:]), a.reshape(1, -1, *a.shape[2:]),
        a.new_empty(rows * filters, *module.weight.shape[1:]), None,
        list(module.stride), padding, list(module.dilation), False, [0] * axes, rows * module.groups,
        [False, True, False],
    )[1].view(rows, -1)  # fmt: skip


def columns_of(way: Ways, module: Any, a: Tensor, positions: torch.Size, scratch: Scratch) -> Tensor:
    """Return (b * groups, t, i): copied patches, i of them `turned` where the way is CHANNELS. A 1x1 convolution's
    are its input."""
    find = channel_patches if way is Ways.CHANNELS else patches
    copied = scratch.copied("patches", find(module, padded(module, a), positions))
    batch, t = len(a) * module.groups, positions.numel()
    return copied.view(batch, t, -1) if way is Ways.CHANNELS else copied.view(batch, -1, t).transpose(1, 2)


def by_columns(columns: Tensor, g: Tensor, groups: int, scratch: Scratch) -> Tensor:
    """Return (b, m * out * i) from `columns_of` and g (b, m * out, *positions): G = B A, group by group."""
    pulls = g.flatten(2) if groups == 1 else g.reshape(len(columns), -1, columns.shape[1])
    out = scratch.room("gradients", (len(columns), pulls.shape[1], columns.shape[2]), g)
    return torch.bmm(pulls, columns, out=out).view(len(g), -1)


def by_products(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Where each group has one input channel: products summed at each place of the kernel."""
    view = patches(module, padded(module, a), g.shape[2:])
    wide = g.reshape(g.shape[0], module.groups, -1, *g.shape[2:])
    weight = g.new_empty(*wide.shape[:3], *module.kernel_size)
    places: Any = itertools.product(*(range(k) for k in module.kernel_size))
    for place in places:
        here = view[:, :, :, *place]
        weight[..., *place] = (wide * here).flatten(3).sum(3)
    return weight.flatten(1)
