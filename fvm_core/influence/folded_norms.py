"""BatchNorm in eval mode folded into the convolution before it: no pass over the activations is left for it.

With y = scale * z + shift for a convolution's z, y is the convolution with filters scale * W. What this is for squared
gradients stands in `layers_folded.py`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.remembered import Remembered, contents
from fvm_core.models.forwards import other_forwards

LEAST_WEIGHT, MOST_SHIFT = 1e-10, 30.0
"""(y - bias) / weight keeps its digits where |weight| > LEAST_WEIGHT and |bias| <= MOST_SHIFT * |weight|."""

MOST_OFFSET = 8.0
"""So many |weight| the folded bias may be off the norm's where the norm's gradient is the difference of two that this
makes larger: trained models have up to 3."""

OF_NORM = "norm."
"""Before the norm's local names among those of a convolution that it is joined with."""


@dataclass(frozen=True)
class Pair:
    """Module names of a convolution and of the BatchNorm that alone reads its output. `copied`: the model changes the
    norm's output in place later, so that it must not be the convolution's own. `joined`: the norm's gradients are
    cheaper to take from the filters' than from y."""

    conv: str
    norm: str
    copied: bool
    joined: bool


@dataclass(frozen=True)
class Folded:
    """Filters (or rounded to bf16) and bias of convolution and norm in one; all others (out,): `squares` scale^2,
    `gain` the norm's weight, `offset` what the folded bias is above the norm's. `joined`: the norm's gradients are
    taken from the filters'."""

    pair: Pair
    weight: Tensor
    bias: Tensor
    squares: Tensor
    gain: Tensor
    offset: Tensor
    joined: bool


class FoldedNorms:
    """The pairs of one model that can be folded as its parameters stand now; what was folded is kept until they
    change. `channels_last`: the layout of the images. `rounded`: convolutions that run with filters in bf16."""

    def __init__(
        self,
        modules: Mapping[str, nn.Module],
        pairs: tuple[Pair, ...],
        *,
        channels_last: bool = False,
        rounded: frozenset[str] = frozenset(),
    ) -> None:
        self._rounded = rounded
        self._kind = torch.channels_last if channels_last else torch.contiguous_format
        self._pairs = [(pair, modules[pair.conv], modules[pair.norm]) for pair in pairs]
        self._folded: Remembered[Folded | None] = Remembered()

    def now(self) -> dict[str, Folded]:
        """Return {convolution: folded}."""
        free = [each for each in self._pairs if not (each[2].training or watched(each[1]) or watched(each[2]))]
        tensors = {pair.conv: _tensors(conv, norm) for pair, conv, norm in free}
        sums, found = contents(tensors), {}
        for pair, conv, norm in free:
            make = partial(_fold, pair, conv, norm, self._kind, rounded=pair.conv in self._rounded)
            made = self._folded.get(pair, tensors[pair.conv], make, contents=sums[pair.conv])
            if made is not None:
                found[pair.conv] = made
        return found


def per_filter(value: Tensor, like: Tensor) -> Tensor:
    """Return (out, 1, ...), one number a filter of `like`."""
    return value.view(-1, *(1 for _ in like.shape[1:]))


def folded_norms(
    modules: Mapping[str, nn.Module],
    folded: Mapping[str, Folded],
    convs: Mapping[str, Callable[..., Tensor]] | None = None,
) -> AbstractContextManager[None]:
    """Within the block the convolutions give what their norms gave, and the norms hand it on. `convs`: forwards of
    convolutions, folded or not, to be taken instead."""
    forwards = {name: _with(modules[name], each) for name, each in folded.items()} | dict(convs or {})
    norms = {each.pair.norm: torch.clone if each.pair.copied else _same for each in folded.values()}
    return other_forwards((modules[name], forward) for name, forward in (forwards | norms).items())


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
def _fold(pair: Pair, conv: Any, norm: Any, kind: torch.memory_format, *, rounded: bool) -> Folded | None:
    size = norm.weight.abs()
    if not bool(((size > LEAST_WEIGHT) & (norm.bias.abs() <= MOST_SHIFT * size)).all()):
        return None
    scale = norm.weight * (norm.running_var + norm.eps).rsqrt()
    shift = norm.bias - norm.running_mean * scale
    bias = shift if conv.bias is None else shift + conv.bias * scale
    # In the images' layout: it would be turned anew in every pass.
    weight = (conv.weight * per_filter(scale, conv.weight)).contiguous(memory_format=kind)
    weight = weight.bfloat16() if rounded else weight
    offset = bias - norm.bias
    joined = pair.joined and bool((offset.abs() <= MOST_OFFSET * size).all())
    return Folded(pair, weight, bias, scale.square(), norm.weight.detach().clone(), offset, joined)
