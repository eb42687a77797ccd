"""Ways from a convolution's input and output gradient to its per-sample gradients, and the fastest of them by shape.

Patches laid out along the channels give gradients in another order than the parameter's: `ordered` brings weights into
it, `whole` a gradient out of it.
"""

from __future__ import annotations

import itertools
import math
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor

from fvm_core.influence.conv_patches import channel_patches, padded, pads_otherwise, patches
from fvm_core.influence.scratch import Scratch

MANY_POSITIONS, FEW_CHANNELS = 128, 32
"""From so many positions, up to so many channels (or with groups of any size), oneDNN's grouped convolution beats
copied patches and a matrix product (measured on AVX2 and AVX-512)."""

SHORT_RUN = 8
"""Channels below which patches are copied along the positions instead."""


class Ways(StrEnum):
    """GROUPED: samples side by side as groups of one convolution. CHANNELS, POSITIONS: matrix products with copied
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
    fast = (
        a.device.type == "cpu" and a.dtype in (torch.float32, torch.bfloat16) and torch.backends.mkldnn.is_available()
    )
    # Other numbers of channels than a register's of bf16 are slow.
    suited = grouped or (SHORT_RUN <= inner <= FEW_CHANNELS and (a.dtype == torch.float32 or inner % 16 == 0))
    if fast and suited and g.shape[2:].numel() >= MANY_POSITIONS:
        return Ways.GROUPED
    if grouped and inner == 1:
        return Ways.PRODUCTS
    return Ways.POSITIONS if inner < SHORT_RUN else Ways.CHANNELS


def ordered(way: Ways, weight: Tensor) -> Tensor:
    """Return (out, i) from `weight` in the parameter's shape, in the order that gradients of this way have."""
    return (weight.movedim(1, -1) if way is Ways.CHANNELS else weight).flatten(1)


def whole(way: Ways, module: Any, grads: Tensor) -> Tensor:
    """Return (b, weight's elements) in the parameter's order from gradients (b, out * i) of this way."""
    if way is not Ways.CHANNELS:
        return grads
    filters, inner, *kernel = module.weight.shape
    return grads.view(-1, filters, *kernel, inner).movedim(-1, 2).flatten(1)


def shared_floats(way: Ways, module: Any, a: Tensor, g: Tensor) -> int:
    """Return the floats a sample needs for all labels: copied patches, and the input laid out anew."""
    copied = module.in_channels * math.prod(module.kernel_size) * g.shape[2:].numel() if way.copies else 0
    return copied + 2 * a[0].numel()


def by_grouped_convolution(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Samples laid side by side as groups: one weight gradient of a grouped convolution is that of each sample."""
    axes = len(module.kernel_size)
    rows, filters = g.shape[:2]
    explicit = pads_otherwise(module)
    a = padded(module, a) if explicit else a
    padding = [0] * axes if explicit else list(module.padding)
    return torch.ops.aten.convolution_backward(
        g.reshape(1, -1, *g.shape[2:]), a.reshape(1, -1, *a.shape[2:]),
        a.new_empty(rows * filters, *module.weight.shape[1:]), None,
        list(module.stride), padding, list(module.dilation), False, [0] * axes, rows * module.groups,
        [False, True, False],
    )[1].view(rows, -1)  # fmt: skip


def columns_of(way: Ways, module: Any, a: Tensor, positions: torch.Size, scratch: Scratch) -> Tensor:
    """Return the copied patches (b * groups, t, i) of a way that copies. A 1x1 convolution's are its input."""
    a = padded(module, a)
    if way is Ways.CHANNELS:
        return channel_patches(module, a, positions, scratch)
    copied = scratch.copied("patches", patches(module, a, positions))
    return copied.view(len(a) * module.groups, -1, positions.numel()).transpose(1, 2)


def by_columns(columns: Tensor, g: Tensor, scratch: Scratch) -> Tensor:
    """Return (b, out * i) from `columns_of` and g (b, out, *positions): G = B A, group by group; of bf16 in fp32."""
    batches, t, inner = columns.shape
    pulls = g.flatten(2).reshape(batches, -1, t)
    shape = (batches, pulls.shape[1], inner)
    out = torch.bmm(pulls, columns, out=scratch.room("gradients", shape, g))
    if out.dtype == torch.bfloat16:
        out = scratch.room("wide gradients", shape, g.new_empty(0, dtype=torch.float32)).copy_(out)
    return out.view(len(g), -1)


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
