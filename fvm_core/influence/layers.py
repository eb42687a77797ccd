"""Exact per-sample gradients, one rule a layer, from its saved input and the gradient at its output.

A rule never sees the whole model: it turns (input, output gradient) of one layer into that layer's squared gradients,
weighted and summed per sample, or summed over samples, a few samples at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

from fvm_core.influence.fused import fused_summed, fused_weighted, usable
from fvm_core.tuning.precision import has_bf16

Calls = list[tuple[Tensor, Tensor]]
"""One (input, output gradient) pair for each time the layer ran in the forward pass; first axis b in both."""

CPU_BUDGET, DEVICE_BUDGET = 8 * 2**20, 256 * 2**20
"""Bytes that one layer's temporary per-sample tensors may take: on a CPU they should stay in its caches (measured)."""

BLOCK, SHORT = 32768, 4096
"""Elements of a gradient from which pairwise sums, and sums sample by sample, are faster (measured)."""

MOST_PARTS = 4
"""Threads from which sums are not kept for each of them any more, for the memory."""


def default_budget(device: torch.device) -> int:
    """Return the budget for a device, in bytes."""
    return CPU_BUDGET if device.type == "cpu" else DEVICE_BUDGET


def widened(value: Tensor) -> Tensor:
    """Return half precision as fp32, in which all sums are taken; anything else as it is."""
    return value.float() if value.is_floating_point() and value.element_size() < 4 else value


def multiplied(a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
    """Return both `widened`, but bf16 as it is where the processor multiplies it (and sums in fp32)."""
    if a.dtype == g.dtype == torch.bfloat16 and a.device.type == "cpu" and has_bf16(a.device):
        return a, g
    return widened(a), widened(g)


def contract(squares: Tensor, weight: Tensor) -> Tensor:
    """Return (b,) sum over p of squares (b, p) * weight (p,); `squares` may be used up. Long rows are summed pairwise:
    one long fp32 dot product loses digits (and is slower)."""
    if squares.shape[1] <= BLOCK or squares.device.type != "cpu":
        return squares @ weight
    return squares.mul_(weight).sum(1)


def thread_sums(like: Tensor, *shape: int) -> Tensor:
    """Return zeros (k, *shape) for `add_squares`, one of the k for each of a few threads: their sum is what it adds
    up."""
    threads = torch.get_num_threads() if like.device.type == "cpu" else 1
    return like.new_zeros(threads if threads <= MOST_PARTS else 1, *shape)


def add_squares(totals: Tensor, grads: Tensor) -> None:
    """Add the sum over samples of grads (b, p) squared to `totals` (k, p), in place; `grads` may be used up.

    A thread adds the samples that it has just made (they are split evenly): another core's come slowly.
    """
    if grads.shape[1] < SHORT:
        totals[0] += grads.square_().sum(0)
        return
    parts = len(totals) if len(grads) % len(totals) == 0 else 1
    totals, rows = totals[:parts], grads.view(parts, -1, grads.shape[1])
    for index in range(rows.shape[1]):
        totals.addcmul_(rows[:, index], rows[:, index])


class Rule:
    """How one kind of layer yields per-sample gradients. Subclasses fill in `grads` and `floats`."""

    forward_of: ClassVar[tuple[type[nn.Module], ...]] = ()
    together: ClassVar[bool] = False
    """Whether `weighted_many` is faster than one gradient after the other."""

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        """Return whether the rule is exact for this module on an input of this shape (first axis: samples)."""
        raise NotImplementedError

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        """Return how many floats `grads` needs for one sample."""
        raise NotImplementedError

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        """Return {local parameter name: (b, parameter's elements)} gradients, one row a sample."""
        raise NotImplementedError

    def ready(self, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        """Return input and output gradient in the precision that `grads` computes in."""
        return widened(a), widened(g)

    def pieces(self, module: Any, calls: Calls, budget: int) -> Iterator[tuple[slice, dict[str, Tensor]]]:
        """Yield (rows, gradients summed over the calls) for pieces of samples that fit in `budget` bytes."""
        rows = calls[0][0].shape[0]
        step = max(1, budget // max(1, 4 * max(self.floats(module, a, g) for a, g in calls)))
        for start in range(0, rows, step):
            piece = slice(start, min(rows, start + step))
            total: dict[str, Tensor] = {}
            for a, g in calls:
                for name, value in self.grads(module, *self.ready(a[piece], g[piece])).items():
                    total[name] = total[name] + value if name in total else value
            yield piece, total

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        """Return {local name: (b,) sum over the parameter of weight * gradient^2}."""
        found: dict[str, list[Tensor]] = {name: [] for name in weights}
        for _, grads in self.pieces(module, calls, budget):
            for name, weight in weights.items():
                found[name].append(contract(grads[name].square_(), weight.reshape(-1)))
        return {name: parts[0] if len(parts) == 1 else torch.cat(parts) for name, parts in found.items()}

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        """Return `weighted` for each of several output gradients of the same inputs."""
        return [self.weighted(module, calls, weights, budget) for calls in many]

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        """Return {local name: sum over these few samples of gradient^2}, flat or in the parameter's shape."""
        out: dict[str, Tensor] = {}
        for _, grads in self.pieces(module, calls, budget):
            for name, value in grads.items():
                add_squares(out.setdefault(name, thread_sums(value, value.shape[1])), value)
        return {name: value.sum(0) for name, value in out.items()}


class LinearRule(Rule):
    """Linear on (b, in) or (b, ..., in): with one position a sample the squares factorise, s = (g^2)^T D (a^2)."""

    forward_of = (nn.Linear,)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) >= 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return a.shape[-1] * g.shape[-1]

    def ready(self, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor]:
        return multiplied(a, g)

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        a, g = a.reshape(a.shape[0], -1, a.shape[-1]), g.reshape(g.shape[0], -1, g.shape[-1])
        out = {"weight": widened(torch.bmm(g.transpose(1, 2), a).flatten(1))}
        if module.bias is not None:
            out["bias"] = widened(g).sum(1)
        return out

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        a, g = calls[0]
        if len(calls) == 1 and "weight" in weights and usable(module, a, g):
            out = {"weight": fused_weighted(module, a, g.unsqueeze(1), weights["weight"])[:, 0]}
            if "bias" in weights:
                out["bias"] = _bias(g).square_() @ weights["bias"]
            return out
        if len(calls) > 1 or a.dim() > 2:
            return super().weighted(module, calls, weights, budget)
        a, g = widened(a), widened(g)
        g_squared, out = g.square(), {}
        if "weight" in weights:
            out["weight"] = ((g_squared @ weights["weight"]) * a.square()).sum(1)
        if "bias" in weights:
            out["bias"] = g_squared @ weights["bias"]
        return out

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        a, g = calls[0]
        if len(calls) == 1 and usable(module, a, g):
            out = {"weight": fused_summed(module, a, g)}
            return out if module.bias is None else out | {"bias": _bias(g).square_().sum(0)}
        if len(calls) > 1 or a.dim() > 2:
            return super().summed(module, calls, budget)
        a, g = widened(a), widened(g)
        g_squared = g.square()
        out = {"weight": (g_squared.t() @ a.square()).flatten()}
        if module.bias is not None:
            out["bias"] = g_squared.sum(0)
        return out


def _bias(g: Tensor) -> Tensor:
    """Return (b, out) fp32: the gradient g (b, ..., out) summed over positions."""
    return widened(g).reshape(len(g), -1, g.shape[-1]).sum(1)
