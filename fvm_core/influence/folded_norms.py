"""BatchNorm in eval mode folded into the convolution before it: no pass over the activations is left for it.

With y = scale * z + shift for a convolution's z, y is the convolution with filters scale * W. At the gradient g of y,
the filters' gradient is scale * (g a^T), so that its squares are weighed by scale^2; the norm's own are
dL/dbias = sum g and dL/dweight = sum g (y - bias) / weight.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.layers import Rule

LEAST_WEIGHT, MOST_SHIFT = 1e-10, 30.0
"""(y - bias) / weight keeps its digits where |weight| > LEAST_WEIGHT and |bias| <= MOST_SHIFT * |weight|."""


@dataclass(frozen=True)
class Pair:
    """Module names of a convolution and of the BatchNorm that alone reads its output. `copied`: the model changes the
    norm's output in place later, so that it must not be the convolution's own."""

    conv: str
    norm: str
    copied: bool


@dataclass(frozen=True)
class Folded:
    """Filters and bias of convolution and norm in one; `squares` (out,): scale^2."""

    pair: Pair
    weight: Tensor
    bias: Tensor
    squares: Tensor


class FoldedNormRule(Rule):
    """A folded norm: its input is its output, and its gradients are sums over positions."""

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return 2 * a[0].numel()

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        last = a.is_contiguous(memory_format=torch.channels_last) and not a.is_contiguous()
        axis = 1 if last else 2
        a, g = (v.permute(0, 2, 3, 1).flatten(1, 2) if last else v.flatten(2) for v in (a, g))
        sums = g.sum(axis)
        return {"weight": ((a * g).sum(axis) - sums * module.bias) / module.weight, "bias": sums}


RULE = FoldedNormRule()


@dataclass(frozen=True)
class _Weighed:
    """Weights of a folded convolution's squares, and what they were made from."""

    folded: Folded
    weights: Mapping[str, Tensor]
    versions: list[int]
    weighed: Mapping[str, Tensor]

    def of(self, folded: Folded, weights: Mapping[str, Tensor], versions: list[int]) -> bool:
        """Return whether it was made from these. The tensors themselves are compared: an address may be used again."""
        same = self.folded is folded and self.versions == versions and self.weights.keys() == weights.keys()
        return same and all(self.weights[name] is value for name, value in weights.items())


class FoldedNorms:
    """The pairs of one model that can be folded as its parameters stand now; what was folded is kept until they
    change. `channels_last`: the layout of the images."""

    def __init__(
        self, modules: Mapping[str, nn.Module], pairs: tuple[Pair, ...], *, channels_last: bool = False
    ) -> None:
        self._kind = torch.channels_last if channels_last else torch.contiguous_format
        self._pairs = [(pair, modules[pair.conv], modules[pair.norm]) for pair in pairs]
        self._kept: dict[str, tuple[tuple[tuple[int, int], ...], Folded | None]] = {}
        self._weighed: dict[str, _Weighed] = {}

    def now(self) -> dict[str, Folded]:
        """Return {convolution: folded}."""
        found = {}
        for pair, conv, norm in self._pairs:
            if norm.training or watched(conv) or watched(norm):
                continue
            state = tuple((value.data_ptr(), value._version) for value in _tensors(conv, norm))
            kept = self._kept.get(pair.conv)
            if kept is None or kept[0] != state:
                kept = self._kept[pair.conv] = state, _fold(pair, conv, norm, self._kind)
            if kept[1] is not None:
                found[pair.conv] = kept[1]
        return found

    def weighed(self, folded: Folded, weights: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """Return the weights of the convolution's squares times scale^2; the last are kept, as they serve every
        batch."""
        versions = [value._version for value in weights.values()]
        kept = self._weighed.get(folded.pair.conv)
        if kept is not None and kept.of(folded, weights, versions):
            return kept.weighed
        out = {name: value * per_filter(folded.squares, value) for name, value in weights.items()}
        self._weighed[folded.pair.conv] = _Weighed(folded, weights, versions, out)
        return out


def per_filter(value: Tensor, like: Tensor) -> Tensor:
    """Return (out, 1, ...), one number a filter of `like`."""
    return value.view(-1, *(1 for _ in like.shape[1:]))


@contextmanager
def folded_norms(modules: Mapping[str, nn.Module], folded: Mapping[str, Folded]) -> Iterator[None]:
    """Within the block the convolutions give what their norms gave, and the norms hand it on."""
    changed: list[Any] = []
    try:
        for each in folded.values():
            conv, norm = modules[each.pair.conv], modules[each.pair.norm]
            for module, forward in ((conv, _with(conv, each)), (norm, torch.clone if each.pair.copied else _same)):
                module.forward = forward
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward


def _with(conv: Any, folded: Folded) -> Callable[[Tensor], Tensor]:
    return lambda input: conv._conv_forward(input, folded.weight, folded.bias)


def _same(input: Tensor) -> Tensor:
    return input


def watched(module: Any) -> bool:
    """Return whether somebody's hook would see the folded values, or the forward is somebody else's."""
    hooks = module._forward_hooks, module._forward_pre_hooks, module._backward_hooks
    return any(hooks) or "forward" in vars(module)


def _tensors(conv: Any, norm: Any) -> list[Tensor]:
    own = [conv.weight, norm.weight, norm.bias, norm.running_mean, norm.running_var]
    return own if conv.bias is None else [*own, conv.bias]


@torch.no_grad()
def _fold(pair: Pair, conv: Any, norm: Any, kind: torch.memory_format) -> Folded | None:
    size = norm.weight.abs()
    if not bool(((size > LEAST_WEIGHT) & (norm.bias.abs() <= MOST_SHIFT * size)).all()):
        return None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * scale
    bias = shift if conv.bias is None else shift + conv.bias * scale
    # In the images' layout: it would be turned anew in every pass.
    weight = (conv.weight * per_filter(scale, conv.weight)).contiguous(memory_format=kind)
    return Folded(pair, weight, bias, scale.square())
