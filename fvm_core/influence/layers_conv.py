"""Exact per-sample gradients of convolutions in 1 to 3 axes: any groups, stride, dilation, padding and its mode.

The input is laid out once for all labels, and the gradients are taken in the way that is the fastest for their shapes
(`conv_ways.py`), filter by filter where one sample's would not stay in the caches.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.conv_pairs import floats as pair_floats
from fvm_core.influence.conv_pairs import pays, weighted_by_pairs
from fvm_core.influence.conv_ways import (
    Ways,
    by_columns,
    by_grouped_convolution,
    by_products,
    columns_of,
    ordered,
    shared_floats,
    way_for,
    whole,
)  # fmt: skip
from fvm_core.influence.folded_norms import per_filter
from fvm_core.influence.fused import fused_summed, fused_weighted, usable
from fvm_core.influence.layers import Calls, Rule, add_squares, contract, multiplied, thread_sums, widened
from fvm_core.influence.remembered import Remembered
from fvm_core.influence.scratch import Scratch

_ALL = 2**62
TOGETHER, LEAST_FILTERS = 4, 32
"""Samples that share one reading of large weights, and filters that a matrix product should have (measured)."""


class ConvRule(Rule):
    """Conv1d, 2d, 3d. `grads` has the weight in the parameter's own order."""

    forward_of = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
    together = True

    def __init__(self) -> None:
        self.scratch = Scratch()
        self._last: Remembered[Tensor] = Remembered()

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) == len(module.kernel_size) + 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return shared_floats(way_for(module, a, g), module, a, g) + module.weight.numel()

    def ready(self, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return multiplied(a, g)

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        return self.grads_by(way_for(module, a, g), module, a, g)

    def grads_by(self, way: Ways, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        """Return `grads` taken in this way."""
        # Memory of its own: a caller may keep these.
        _, grads = next(self._parts(way, module, a, g.unsqueeze(1), _ALL, Scratch()))
        out = {"weight": whole(way, module, grads)}
        if module.bias is not None:
            out["bias"] = widened(g).flatten(2).sum(2)
        return out

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        return self.weighted_many(module, [calls], weights, budget)[0]

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        """As `weighted` for each of the m; the input is laid out once for as many as the budget holds."""
        if any(len(calls) > 1 for calls in many):
            return [super(ConvRule, self).weighted(module, calls, weights, budget) for calls in many]
        return self.weighted_scaled(module, many, weights, budget)[0]

    def weighted_scaled(
        self,
        module: Any,
        many: list[Calls],
        weights: Mapping[str, Tensor],
        budget: int,
        *,
        scale: Tensor | None = None,
        along: Tensor | None = None,
    ) -> tuple[list[dict[str, Tensor]], Tensor | None]:
        """As `weighted_many` where the layer ran once, with the squares of each filter times scale (out,); and (b, m,
        out): each filter's gradient times `along` (of the filters' shape), summed, where given and filters count."""
        a, g = many[0][0]
        pulls = g.unsqueeze(1) if len(many) == 1 else torch.stack([calls[0][1] for calls in many], dim=1)
        out: dict[str, Tensor] = {}
        dots: Tensor | None = None
        if "bias" in weights:
            sums = widened(pulls).flatten(3).sum(3)
            weight = weights["bias"] if scale is None else weights["bias"] * scale
            out["bias"] = contract(sums.flatten(0, 1).square_(), weight).view(sums.shape[:2])
        if "weight" in weights:
            if usable(module, a, g) and along is None:
                weight = self._laid_out("weights", None, module, weights["weight"], scale)
                out["weight"] = fused_weighted(module, a, pulls, weight)
            else:
                a, pulls = self.ready(a, pulls)
                way = way_for(module, a, pulls[:, 0])
                weight = self._laid_out("weights", way, module, weights["weight"], scale)
                out["weight"], dots = self._weighted_weight(way, module, a, pulls, weight, budget, along)
        return [{name: out[name][:, index] for name in weights} for index in range(len(many))], dots

    def _weighted_weight(
        self, way: Ways, module: Any, a: Tensor, pulls: Tensor, weight: Tensor, budget: int, along: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        """Return (b, m): sum of weight * gradient^2 for `pulls` (b, m, out, *positions) and a laid out weight; and
        (b, m, out): that of along * gradient over each filter."""
        rows, m = pulls.shape[:2]
        along = along if along is None else self._laid_out("along", way, module, along)
        shared, each = shared_floats(way, module, a, pulls[:, 0]), module.weight.numel() + pulls[0, 0].numel()
        size = 1 if module.groups > 1 else max(1, min(m, (budget // 4 - shared) // each))
        shape = pulls.shape[3:].numel(), module.weight[0].numel(), len(module.weight)
        paired = module.groups == 1 and way.copies and pays(m, *shape)
        if paired:
            a, pulls = widened(a), widened(pulls)
        step = max(1, budget // (4 * (shared + (pair_floats(m, *shape) if paired else size * each))))
        step = self._step(way, module, rows, step, budget // (4 * shared))
        out = weight.new_empty(rows, m)
        dots = None if along is None else along.new_empty(rows, m, len(along))
        all_dots = [None] * rows if dots is None else dots.split(step)
        for inputs, piece, found, along_found in zip(a.split(step), pulls.split(step), out.split(step), all_dots):  # noqa: B905
            columns = columns_of(way, module, inputs, pulls.shape[3:], self.scratch) if way.copies else None
            if paired and columns is not None:
                flat = piece.flatten(3)
                found.copy_(weighted_by_pairs(columns, flat, weight, self.scratch))
                if along is not None and along_found is not None:
                    torch.sum(flat * (columns @ along.t()).transpose(1, 2).unsqueeze(1), 3, out=along_found)
                continue
            for low in range(0, m, size):
                labels = slice(low, low + size)
                group, parts = _at(piece, 1, labels), []
                for filters, grads in self._parts(way, module, inputs, group, budget, self.scratch, columns):
                    if along is not None and along_found is not None:
                        here = _at(_at(along_found, 1, labels), 2, filters)
                        here.copy_(_dots(grads, _at(along, 0, filters)).view(here.shape))
                    parts.append(contract(grads.square_(), _at(weight, 0, filters).view(-1)))
                total = parts[0] if len(parts) == 1 else torch.stack(parts).sum(0, dtype=torch.float64)
                _at(found, 1, labels).copy_(total.view(group.shape[:2]))
        return out, dots

    def _parts(
        self, way: Ways, module: Any, a: Tensor, pulls: Tensor, budget: int, scratch: Scratch,
        columns: Tensor | None = None,
    ) -> Iterator[tuple[slice, Tensor]]:  # fmt: skip
        """Yield (filters, their gradients (b * m, filters * i), to be used up) for pulls (b, m, out,
        *positions), as many filters at once as the budget holds. `columns`: what `columns_of` gave for a."""
        b, m, filters = pulls.shape[:3]
        wide, every = pulls.flatten(1, 2), slice(filters)
        if way is Ways.GROUPED:
            yield every, widened(by_grouped_convolution(module, a, wide)).view(b * m, -1)
        elif way is Ways.PRODUCTS:
            yield every, by_products(module, widened(a), widened(wide)).view(b * m, -1)
        else:
            columns = columns_of(way, module, a, pulls.shape[3:], scratch) if columns is None else columns
            each = 4 * b * m * columns.shape[2]
            height = _even(filters, max(LEAST_FILTERS, budget // each)) if module.groups == 1 else filters
            for low in range(0, filters, height):
                here = slice(low, low + height)
                grads = by_columns(columns, _at(pulls, 2, here).flatten(1, 2), scratch)
                yield here, grads.view(b * m, -1)

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        if len(calls) > 1:
            return super().summed(module, calls, budget)
        return self.summed_along(module, *calls[0], budget)[0]

    def summed_along(
        self, module: Any, a: Tensor, g: Tensor, budget: int, along: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor | None]:
        """As `summed` for one call, and (b, out): each filter's gradient times `along` (of the filters' shape), summed,
        where that is given."""
        out: dict[str, Tensor] = {}
        dots: Tensor | None = None
        if usable(module, a, g) and along is None:
            out["weight"] = fused_summed(module, a, g)
        else:
            out["weight"], dots = self._summed_weight(module, *self.ready(a, g), budget, along)
        if module.bias is not None:
            out["bias"] = widened(g).flatten(2).sum(2).square_().sum(0)
        return out, dots

    def _summed_weight(
        self, module: Any, a: Tensor, g: Tensor, budget: int, along: Tensor | None
    ) -> tuple[Tensor, Tensor | None]:
        way = way_for(module, a, g)
        along = along if along is None else self._laid_out("along", way, module, along)
        dots = None if along is None else along.new_empty(len(a), len(along))
        total = thread_sums(widened(module.weight), len(module.weight), module.weight[0].numel())
        shared = shared_floats(way, module, a, g)
        step = max(1, budget // (4 * (shared + module.weight.numel())))
        step = self._step(way, module, len(a), step, budget // (4 * shared))
        step = step // len(total) * len(total) or step
        all_dots = [None] * len(a) if dots is None else dots.split(step)
        for inputs, piece, along_found in zip(a.split(step), g.unsqueeze(1).split(step), all_dots):  # noqa: B905
            for here, grads in self._parts(way, module, inputs, piece, budget, self.scratch):
                if along is not None and along_found is not None:
                    _at(along_found, 1, here).copy_(_dots(grads, _at(along, 0, here)))
                add_squares(_at(total, 1, here).flatten(1), grads)
        return whole(way, module, total.sum(0).view(1, -1))[0], dots

    def _step(self, way: Ways, module: Any, rows: int, step: int, most: int) -> int:
        """Return how many of the rows are taken at once, where whole gradients of `step` and patches of `most` fit."""
        if way.copies and module.groups == 1:  # filter by filter
            step = max(step, min(TOGETHER, most))
        return _even(rows, step)

    def _laid_out(
        self, use: str, way: Ways | None, module: Any, weight: Tensor, scale: Tensor | None = None
    ) -> Tensor:  # fmt: skip
        """Return weight, each filter times scale (out,), as (out, i) in the order of `way` (None: as it is); that of
        the last call for this `use` is kept, since it serves every batch."""

        def make() -> Tensor:
            whole = weight if scale is None else weight * per_filter(scale, weight)
            return widened(whole if way is None else ordered(way, whole)).contiguous()

        return self._last.get((module, way, use), [weight, *([] if scale is None else [scale])], make)


def _even(count: int, step: int) -> int:
    """Return the largest step <= `step` that cuts `count` into even pieces, as few as `step` does."""
    return -(-count // max(1, -(-count // step))) or 1


def _at(value: Tensor, axis: int, part: slice) -> Tensor:
    """Return a view of this part of an axis."""
    low, high, _ = part.indices(value.shape[axis])
    return value if high - low == value.shape[axis] else value.narrow(axis, low, high - low)


def _dots(grads: Tensor, along: Tensor) -> Tensor:
    """Return (b, filters): grads (b, filters * i) times along (filters, i), summed over i."""
    return torch.linalg.vecdot(grads.view(-1, *along.shape), along)
