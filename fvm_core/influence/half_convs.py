"""Convolutions in bf16 between tensors in fp32: what they multiply is rounded, what they sum, and all else, is not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.folded_norms import Folded, per_filter, watched
from fvm_core.influence.remembered import Remembered
from fvm_core.tuning.precision import has_bf16

LEAST_CHANNELS = 16
"""Input channels from which all products of a convolution are faster in bf16 (measured on AVX-512)."""


@dataclass(frozen=True)
class HalfConv:
    """A convolution with its filters in bf16, and its bias (out, 1, ...) in fp32 or None."""

    conv: Any
    weight: Tensor
    bias: Tensor | None

    def products(self, a: Tensor) -> Tensor:
        """Return the convolution of a, bf16 as it, without the bias. A processor that has no bf16 gives the same but
        for the order of sums."""
        if has_bf16(a.device):
            return self.conv._conv_forward(a, self.weight, None)
        return self.conv._conv_forward(a.float(), self.weight.float(), None).bfloat16()

    def whole(self, products: Tensor) -> Tensor:
        """Return the layer's output in fp32."""
        return products.float() if self.bias is None else products.float().add_(self.bias)


class HalfConvs:
    """The convolutions among `names` that run in bf16, whether their norm is folded or not; what was rounded is kept
    until it changes."""

    def __init__(self, modules: Mapping[str, nn.Module], names: Iterable[str]) -> None:
        self._convs: dict[str, Any] = {name: modules[name] for name in names if suited(modules[name])}
        self._halves: Remembered[HalfConv] = Remembered()

    def now(self, folded: Mapping[str, Folded]) -> dict[str, HalfConv]:
        """Return {module name: its bf16 form}, of the filters in `folded` where it is there."""
        out = {}
        for name, conv in self._convs.items():
            weight, bias = (folded[name].weight, folded[name].bias) if name in folded else (conv.weight, conv.bias)
            tensors = [weight] if bias is None else [weight, bias]
            out[name] = self._halves.get(name, tensors, partial(_half, conv, weight, bias))
        return out


def suited(module: Any) -> bool:
    """Return whether the module is a convolution that gains by bf16, and nobody's hook watches it."""
    return (
        isinstance(module, nn.modules.conv._ConvNd)
        and module.groups == 1
        and module.in_channels >= LEAST_CHANNELS
        and module.weight.dtype == torch.float32
        and not watched(module)
    )


@torch.no_grad()
def _half(conv: Any, weight: Tensor, bias: Tensor | None) -> HalfConv:
    per_channel = None if bias is None else per_filter(bias.detach(), weight[:, 0])
    return HalfConv(conv, weight.detach().bfloat16(), per_channel)
