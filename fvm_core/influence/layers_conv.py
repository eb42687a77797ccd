"""Exact per-sample gradients of convolutions in 1 to 3 axes: any groups, stride, dilation, padding and its mode.

The input is laid out once for all labels, and the gradients are taken in the way that is the fastest for their shapes
(`conv_ways.py`), filter by filter where one sample's would not stay in the caches.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.conv_pairs import floats as pair_floats
from fvm_core.influence.conv_pairs import pays, weighted_by_pairs
from fvm_core.influence.conv_ways import Ways, by_columns, by_way, columns_of, turned, way_for
from fvm_core.influence.fused import fused_summed, fused_weighted, usable
from fvm_core.influence.layers import Calls, Rule, add_squares, contract, widened
from fvm_core.influence.remembered import Remembered
from fvm_core.influence.scratch import Scratch

TOGETHER, LEAST_FILTERS = 4, 32
"""Samples that share one reading of large weights, and filters that a matrix product should have (measured)."""


class ConvRule(Rule):
    """Conv1d, 2d, 3d. `grads` has the weight in the parameter's own order; sums are taken in the order of the way."""

    forward_of = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    together = True

    def __init__(self) -> None:
        self.scratch = Scratch()
        self._last: Remembered[Tensor] = Remembered()

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
        a, g = many[0][0]
        pulls = g.unsqueeze(1) if len(many) == 1 else torch.stack([calls[0][1] for calls in many], dim=1)
        out: dict[str, Tensor] = {}
        if "bias" in weights:
            sums = widened(pulls).flatten(3).sum(3)
            out["bias"] = contract(sums.flatten(0, 1).square_(), weights["bias"]).view(sums.shape[:2])
        if "weight" in weights:
            if usable(module, a, g):
                out["weight"] = fused_weighted(module, a, pulls, weights["weight"])
            else:
                out["weight"] = self._weighted_weight(module, widened(a), widened(pulls), weights["weight"], budget)
        return [{name: out[name][:, index] for name in weights} for index in range(len(many))]

    def _weighted_weight(self, module: Any, a: Tensor, pulls: Tensor, weight: Tensor, budget: int) -> Tensor:
        """Return (b, m): sum of weight * gradient^2 for `pulls` (b, m, out, *positions)."""
        rows, m = pulls.shape[:2]
        way = way_for(module, a, pulls[:, 0])
        once, each = self.floats(module, a, pulls[:, 0]) - weight.numel(), weight.numel() + pulls[0, 0].numel()
        size = 1 if module.groups > 1 else max(1, min(m, (budget // 4 - once) // each))
        shape = pulls.shape[3:].numel(), weight[0].numel(), len(weight)
        paired = module.groups == 1 and way.copies and pays(m, *shape)
        step = max(1, budget // (4 * (once + (pair_floats(m, *shape) if paired else size * each))))
        if step < TOGETHER and module.groups == 1 and way.copies:
            step = max(step, min(TOGETHER, budget // (4 * once)))
        step = -(-rows // -(-rows // step))  # even pieces
        weight = self._turned(module, weight) if way is Ways.CHANNELS else weight.reshape(len(weight), -1)
        out = a.new_empty(rows, m)
        for start in range(0, rows, step):
            here = slice(start, start + step)
            columns = columns_of(way, module, a[here], pulls.shape[3:], self.scratch) if way.copies else None
            if paired and columns is not None:
                out[here] = weighted_by_pairs(columns, pulls[here].flatten(3), weight, self.scratch)
                continue
            for low in range(0, m, size):
                group = pulls[here, low : low + size]
                if columns is not None and module.groups == 1:
                    out[here, low : low + size] = self._contracted(columns, group.flatten(3), weight, budget)
                    continue
                wide = group.flatten(1, 2)
                if columns is None:
                    grads = by_way(way, module, a[here], wide, self.scratch)
                else:
                    grads = by_columns(columns, wide, module.groups, self.scratch)
                squares = grads.view(group.shape[0] * group.shape[1], -1).square_()
                out[here, low : low + size] = contract(squares, weight.reshape(-1)).view(group.shape[:2])
        return out

    def _by_filters(self, columns: Tensor, pulls: Tensor, budget: int) -> Iterator[tuple[slice, Tensor]]:
        """Yield (filters, their gradients (b * m, filters * i), to be used up) for copied patches and pulls
        (b, m, out, t), as many filters at once as the budget holds."""
        b, m, filters = pulls.shape[:3]
        inner = columns.shape[2]
        height = max(LEAST_FILTERS, budget // (4 * b * m * inner))
        for low in range(0, filters, height):
            here = slice(low, low + height)
            wide = pulls[:, :, here].flatten(1, 2)
            room = self.scratch.room("gradients", (b, wide.shape[1], inner), columns)
            yield here, torch.bmm(wide, columns, out=room).view(b * m, -1)

    def _contracted(self, columns: Tensor, pulls: Tensor, weight: Tensor, budget: int) -> Tensor:
        """Return (b, m) for copied patches, pulls (b, m, out, t) and weights (out, i)."""
        pieces = self._by_filters(columns, pulls, budget)
        parts = [contract(grads.square_(), weight[here].reshape(-1)) for here, grads in pieces]
        total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0, dtype=torch.float64).to(weight.dtype)
        return total.view(pulls.shape[:2])

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        if len(calls) > 1:
            return super().summed(module, calls, budget)
        a, g = calls[0]
        out = {}
        if usable(module, a, g):
            out["weight"] = fused_summed(module, a, g)
        else:
            out["weight"] = self._summed_weight(module, widened(a), widened(g), budget)
        if module.bias is not None:
            out["bias"] = widened(g).flatten(2).sum(2).square_().sum(0)
        return out

    def _summed_weight(self, module: Any, a: Tensor, g: Tensor, budget: int) -> Tensor:
        way = way_for(module, a, g)
        total = a.new_zeros(module.weight.numel())
        shared = way.copies and module.groups == 1
        floats = _patch_floats(module, a, g) + 2 * a[0].numel() if shared else self.floats(module, a, g)
        step = max(TOGETHER if shared else 1, budget // (4 * floats))
        for start in range(0, len(a), step):
            piece = slice(start, start + step)
            if shared:
                columns = columns_of(way, module, a[piece], g.shape[2:], self.scratch)
                for here, grads in self._by_filters(columns, g[piece].flatten(2).unsqueeze(1), budget):
                    add_squares(total.view(len(module.weight), -1)[here].view(-1), grads)
            else:
                add_squares(total, by_way(way, module, a[piece], g[piece], self.scratch))
        if way is Ways.CHANNELS:
            inner = module.weight.shape[1]
            return total.view(-1, *module.kernel_size, inner).movedim(-1, 1)  # a view: it is read once
        return total

    def _turned(self, module: Any, weight: Tensor) -> Tensor:
        """Return `turned` weights (out, i); those of the last call are kept, since they serve every batch."""
        make = lambda: turned(module, weight.reshape(1, -1)).view(len(weight), -1)  # noqa: E731
        return self._last.get(module, [weight], make)


def _patch_floats(module: Any, a: Tensor, g: Tensor) -> int:
    if not way_for(module, a, g).copies:
        return 0
    return module.in_channels * math.prod(module.kernel_size) * math.prod(g.shape[2:])
