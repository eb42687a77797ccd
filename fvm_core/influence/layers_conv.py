"""Exact per-sample gradients of convolutions in 1 to 3 axes: any groups, stride, dilation, padding and its mode.

Three ways to the same gradient, the fastest by shape. All take the gradients g (b, m * out, *positions) of one or of m
labels at once: the input is laid out once for all of them.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping
from enum import StrEnum
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.conv_patches import channel_patches, padded, patches
from fvm_core.influence.layers import Calls, Rule, add_squares, contract
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


class ConvRule(Rule):
    """Conv1d, 2d, 3d. `grads` has the weight in the parameter's own order; sums are taken in the order of the way."""

    forward_of = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    together = True

    def __init__(self) -> None:
        self.scratch = Scratch()
        self._last: dict[int, tuple[Tensor, int, Tensor]] = {}

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) == len(module.kernel_size) + 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        labels = g.shape[1] // module.out_channels
        return _patch_floats(module, a, g) + labels * module.weight.numel() + 2 * a[0].numel()

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        way = way_for(module, a, g)
        # Memory of its own: a caller may keep these.
        out = {"weight": by_way(way, module, a, g, Scratch())}
        if way is Ways.CHANNELS:
            out["weight"] = turned(module, out["weight"], back=True)
        if module.bias is not None:
            out["bias"] = g.flatten(2).sum(2)
        return out

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        return self.weighted_many(module, [calls], weights, budget)[0]

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        """As `weighted` for each of the m; the input is laid out once for as many as the budget holds."""
        if any(len(calls) > 1 for calls in many):
            return [super(ConvRule, self).weighted(module, calls, weights, budget) for calls in many]
        (a, g), rows = many[0][0], len(many[0][0][0])
        once, each = self.floats(module, a, g) - module.weight.numel(), module.weight.numel() + g[0].numel()
        size = 1 if module.groups > 1 else max(1, min(len(many), (budget // 4 - once) // each))
        step = max(1, budget // (4 * (once + size * each)))
        weight = weights.get("weight")
        way = way_for(module, a, g)
        if weight is not None and way is Ways.CHANNELS:
            weight = self._turned(module, weight)
        pulls = g.unsqueeze(1) if len(many) == 1 else torch.stack([calls[0][1] for calls in many], dim=1)
        out = {name: a.new_zeros(rows, len(many)) for name in weights}
        for start in range(0, rows, step):
            for low in range(0, len(many), size):
                here = slice(start, start + step), slice(low, low + size)
                group = pulls[here]
                b, m = group.shape[:2]
                wide = group.flatten(1, 2)
                if weight is not None:
                    grads = by_way(way, module, a[here[0]], wide, self.scratch)
                    out["weight"][here] = contract(grads.view(b * m, -1).square_(), weight.reshape(-1)).view(b, m)
                if "bias" in weights:
                    sums = wide.flatten(2).sum(2).view(b * m, -1)
                    out["bias"][here] = contract(sums.square_(), weights["bias"]).view(b, m)
        return [{name: value[:, index] for name, value in out.items()} for index in range(len(many))]

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        if len(calls) > 1:
            return super().summed(module, calls, budget)
        a, g = calls[0]
        step = max(1, budget // (4 * self.floats(module, a, g)))
        way = way_for(module, a, g)
        total = a.new_zeros(module.weight.numel())
        for start in range(0, len(a), step):
            piece = slice(start, start + step)
            add_squares(total, by_way(way, module, a[piece], g[piece], self.scratch))
        if way is Ways.CHANNELS:
            total = turned(module, total.unsqueeze(0), back=True).squeeze(0)
        out = {"weight": total}
        if module.bias is not None:
            out["bias"] = g.flatten(2).sum(2).square_().sum(0)
        return out

    def _turned(self, module: Any, weight: Tensor) -> Tensor:
        """Return `turned` weights; those of the last call are kept, since they serve every batch."""
        kept = self._last.get(id(module))
        if kept is None or kept[0] is not weight or kept[1] != weight._version:
            kept = self._last[id(module)] = weight, weight._version, turned(module, weight.reshape(1, -1))
        return kept[2]


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
    return by_patches(way, module, a, g, scratch)


def _patch_floats(module: Any, a: Tensor, g: Tensor) -> int:
    if way_for(module, a, g) in (Ways.GROUPED, Ways.PRODUCTS):
        return 0
    return module.in_channels * math.prod(module.kernel_size) * math.prod(g.shape[2:])


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


def by_patches(way: Ways, module: Any, a: Tensor, g: Tensor, scratch: Scratch) -> Tensor:
    """G = B A over copied patches A, group by group. A 1x1 convolution's patches are its input."""
    find = channel_patches if way is Ways.CHANNELS else patches
    view = find(module, padded(module, a), g.shape[2:])
    batch, positions = len(g) * module.groups, g.shape[2:].numel()
    if way is Ways.CHANNELS:
        unfolded = scratch.copied("patches", view).view(batch, positions, -1)
    else:
        unfolded = scratch.copied("patches", view).view(batch, -1, positions).transpose(1, 2)
    pulls = g.flatten(2) if module.groups == 1 else g.reshape(batch, -1, positions)
    out = scratch.room("gradients", (batch, pulls.shape[1], unfolded.shape[2]), g)
    return torch.bmm(pulls, unfolded, out=out).view(len(g), -1)


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
