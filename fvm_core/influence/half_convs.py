"""Convolutions in bf16 between tensors in fp32: what they take and give is rounded, their sums and all else are not."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.conv_patches import pads_otherwise
from fvm_core.influence.folded_norms import Folded, per_filter, watched
from fvm_core.influence.remembered import Remembered, contents
from fvm_core.tuning.precision import has_bf16

LEAST_CHANNELS = 16
"""Input channels from which a convolution's products are faster in bf16 (measured on AVX-512)."""


@dataclass(frozen=True)
class HalfConv:
    """A convolution with its filters in bf16, and its bias (out, 1, ...) in fp32 or None."""

    conv: Any
    weight: Tensor
    bias: Tensor | None

    def products(self, a: Tensor) -> Tensor:
        """Return the convolution of the fp32 input a without the bias, in bf16. A processor that has no bf16 gives the
        same but for the order of sums."""
        return self._products(a) if pads_otherwise(self.conv) else _Products.apply(a, self)

    def _products(self, a: Tensor) -> Tensor:
        return self.conv._conv_forward(*self._operands(a), None).bfloat16()

    def _operands(self, *values: Tensor) -> tuple[Tensor, ...]:
        """Return the values and the filters in bf16; in fp32 with the values of bf16 where that is not in hardware."""
        rounded = *(value.bfloat16() for value in values), self.weight
        return rounded if has_bf16(self.weight.device) else tuple(value.float() for value in rounded)

    def whole(self, products: Tensor) -> Tensor:
        """Return the layer's output in fp32."""
        return products.float() if self.bias is None else products.float().add_(self.bias)


class _Products(torch.autograd.Function):
    """A convolution that keeps nothing for its way back: PyTorch's would hold the input in bf16, which only the
    filters' gradient needs, beside the one in fp32."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, half: HalfConv) -> Tensor:
        ctx.half, ctx.shape, ctx.stride = half, a.shape, a.stride()
        return half._products(a)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None]:
        conv = ctx.half.conv
        g, weight = ctx.half._operands(grads[0])
        # Of the input only its shape and layout matter.
        a = torch.empty_strided(ctx.shape, ctx.stride, dtype=g.dtype, device=g.device)
        pulled = torch.ops.aten.convolution_backward(
            g, a, weight, None, conv.stride, conv.padding, conv.dilation, False, [0] * len(conv.stride), conv.groups,
            [True, False, False],
        )[0]  # fmt: skip
        return pulled.bfloat16().float(), None


class HalfConvs:
    """The convolutions among `names` that can run in bf16, whether their norm is folded or not, but for those that
    somebody's hook watches; what was rounded is kept until it changes."""

    def __init__(self, modules: Mapping[str, nn.Module], names: Iterable[str]) -> None:
        self._convs: dict[str, Any] = {name: modules[name] for name in names if suited(modules[name])}
        self._halves: Remembered[HalfConv] = Remembered()

    def now(self, folded: Mapping[str, Folded]) -> dict[str, HalfConv]:
        """Return {module name: its bf16 form}, of the filters in `folded` where it is there."""
        free = {name: conv for name, conv in self._convs.items() if not watched(conv)}
        tensors = {name: _filters(folded.get(name, conv)) for name, conv in free.items()}
        # What was folded is new where it differs.
        sums = contents({name: own for name, own in tensors.items() if name not in folded})
        return {
            name: self._halves.get(name, own, partial(_half, free[name], *own), contents=sums.get(name, ()))
            for name, own in tensors.items()
        }


def suited(module: Any) -> bool:
    """Return whether the module is a convolution that gains by bf16."""
    return (
        isinstance(module, nn.modules.conv._ConvNd)
        and module.groups == 1
        and module.in_channels >= LEAST_CHANNELS
        and module.weight.dtype == torch.float32
    )


def _filters(given: Any) -> list[Tensor]:
    return [given.weight] if given.bias is None else [given.weight, given.bias]


@torch.no_grad()
def _half(conv: Any, weight: Tensor, bias: Tensor | None = None) -> HalfConv:
    per_channel = None if bias is None else per_filter(bias.detach(), weight[:, 0])
    return HalfConv(conv, weight.detach().bfloat16(), per_channel)
