"""Exact per-sample gradients, one rule a layer, from its saved input and the gradient at its output.

A rule never sees the whole model: it turns (input, output gradient) of one layer into that layer's squared gradients,
weighted and summed per sample, or summed over samples, a few samples at a time.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Calls = list[tuple[Tensor, Tensor]]
"""One (input, output gradient) pair for each time the layer ran in the forward pass; first axis b in both."""

DEFAULT_BUDGET = 32 * 2**20
"""Bytes that one layer's temporary per-sample tensors may take."""

BLOCK = 4096


def contract(squares: Tensor, weight: Tensor) -> Tensor:
    """Return (b,) sum over p of squares (b, p) * weight (p,), block by block: one long fp32 dot loses digits."""
    b, p = squares.shape
    if p <= BLOCK:
        return squares @ weight
    whole = p - p % BLOCK
    blocks = squares[:, :whole].view(b, -1, BLOCK).transpose(0, 1)
    parts = torch.bmm(blocks, weight[:whole].view(-1, BLOCK, 1)).squeeze(2)
    rest = (squares[:, whole:] @ weight[whole:]).double()
    return (parts.double().sum(0) + rest).to(squares.dtype)


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

    def pieces(self, module: Any, calls: Calls, budget: int) -> Iterator[tuple[slice, dict[str, Tensor]]]:
        """Yield (rows, gradients summed over the calls) for pieces of samples that fit in `budget` bytes."""
        rows = calls[0][0].shape[0]
        step = max(1, budget // max(1, 4 * max(self.floats(module, a, g) for a, g in calls)))
        for start in range(0, rows, step):
            piece = slice(start, min(rows, start + step))
            total: dict[str, Tensor] = {}
            for a, g in calls:
                for name, value in self.grads(module, a[piece], g[piece]).items():
                    total[name] = total[name] + value if name in total else value
            yield piece, total

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        """Return {local name: (b,) sum over the parameter of weight * gradient^2}."""
        out = {name: calls[0][0].new_zeros(calls[0][0].shape[0]) for name in weights}
        for piece, grads in self.pieces(module, calls, budget):
            for name, weight in weights.items():
                out[name][piece] = contract(grads[name].square_(), weight.reshape(-1))
        return out

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        """Return `weighted` for each of several output gradients of the same inputs."""
        return [self.weighted(module, calls, weights, budget) for calls in many]

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        """Return {local name: float64 (parameter's elements,) sum over samples of gradient^2}."""
        out: dict[str, Tensor] = {}
        for _, grads in self.pieces(module, calls, budget):
            for name, value in grads.items():
                part = value.square_().sum(0).double()
                out[name] = out[name] + part if name in out else part
        return out


class LinearRule(Rule):
    """Linear on (b, in) or (b, ..., in): with one position a sample the squares factorise, s = (g^2)^T D (a^2)."""

    forward_of = (nn.Linear,)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) >= 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return a.shape[-1] * g.shape[-1]

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        a, g = a.reshape(a.shape[0], -1, a.shape[-1]), g.reshape(g.shape[0], -1, g.shape[-1])
        out = {"weight": torch.bmm(g.transpose(1, 2), a).flatten(1)}
        if module.bias is not None:
            out["bias"] = g.sum(1)
        return out

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        a, g = calls[0]
        if len(calls) > 1 or a.dim() > 2:
            return super().weighted(module, calls, weights, budget)
        g_squared, out = g.square(), {}
        if "weight" in weights:
            out["weight"] = ((g_squared @ weights["weight"]) * a.square()).sum(1)
        if "bias" in weights:
            out["bias"] = g_squared @ weights["bias"]
        return out

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        a, g = calls[0]
        if len(calls) > 1 or a.dim() > 2:
            return super().summed(module, calls, budget)
        g_squared = g.square()
        out = {"weight": (g_squared.t() @ a.square()).flatten().double()}
        if module.bias is not None:
            out["bias"] = g_squared.sum(0).double()
        return out


class NormRule(Rule):
    """Scale and shift after a normalisation: gradients are sums over positions of g * normalised input, and of g."""

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return 3 * a[0].numel()

    def normalised(self, module: Any, a: Tensor) -> Tensor:
        """Return the input as it is right before the scale."""
        raise NotImplementedError

    def per_channel(self, module: Any, value: Tensor) -> Tensor:
        """Sum (b, c, positions...) to (b, c)."""
        return value.flatten(2).sum(2) if value.dim() > 2 else value

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        out = {}
        if module.weight is not None:
            out["weight"] = self.per_channel(module, self.normalised(module, a).mul_(g))
        if module.bias is not None:
            # `square_` of a caller must not reach the caller's gradient where nothing was summed.
            out["bias"] = self.per_channel(module, g if g.dim() > 2 else g.clone())
        return out


class BatchNormRule(NormRule):
    """BatchNorm with running statistics (eval mode): an affine map with constant mean and variance."""

    forward_of = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return module.running_mean is not None and len(input_shape) >= 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return 8 * module.num_features

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        # Samples laid side by side as channels: one fused kernel gives both sums for every (sample, channel).
        rows = a.shape[0]
        wide = (1, a.shape[0] * a.shape[1], *(a.shape[2:] or (1,)))
        mean, variance = module.running_mean.repeat(rows), module.running_var.repeat(rows)
        _, weight, bias = torch.ops.aten.native_batch_norm_backward(
            g.reshape(wide), a.reshape(wide), mean, mean, variance, None, None, False, module.eps, [False, True, True]
        )
        out = {"weight": weight, "bias": bias}
        return {name: out[name].view(rows, -1) for name in out if getattr(module, name) is not None}


class GroupNormRule(NormRule):
    """GroupNorm: statistics of the sample itself."""

    forward_of = (nn.GroupNorm,)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) >= 2

    def normalised(self, module: Any, a: Tensor) -> Tensor:
        return F.group_norm(a, module.num_groups, None, None, module.eps)


class LayerNormRule(NormRule):
    """LayerNorm over the last axes; the parameters have their shape, axes between them and b are summed."""

    forward_of = (nn.LayerNorm,)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) > len(module.normalized_shape)

    def normalised(self, module: Any, a: Tensor) -> Tensor:
        return F.layer_norm(a, module.normalized_shape, None, None, module.eps)

    def per_channel(self, module: Any, value: Tensor) -> Tensor:
        size = 1
        for length in module.normalized_shape:
            size *= length
        return value.reshape(value.shape[0], -1, size).sum(1)
