"""Convolutions in bf16 between tensors in fp32: what they take and give is rounded, their sums and all else are not.

Where a ReLU alone stands between two of them it runs in bf16, too, which rounds nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.conv_patches import pads_otherwise
from fvm_core.influence.folded_norms import Folded, per_filter, watched
from fvm_core.influence.rectified import Rectified
from fvm_core.influence.remembered import Remembered, contents
from fvm_core.tuning.precision import has_bf16

LEAST_CHANNELS = 16
"""Input channels from which a convolution's products are faster in bf16 (measured on AVX-512)."""


@dataclass(frozen=True)
class HalfConv:
    """A convolution with its filters in bf16 and its bias in fp32 or None. `summed`: the bias (out,) is added before
    the output is rounded; otherwise (out, 1, ...) after it. `inner`: the output stays in bf16."""

    conv: Any
    weight: Tensor
    bias: Tensor | None
    summed: bool
    inner: bool

    def products(self, a: Tensor, rounded: Tensor) -> Tensor:
        """Return the convolution of the input a, fp32 or bf16, in bf16, with the bias where it is `summed`. `rounded`:
        a in bf16, without a graph. A processor that has no bf16 gives the same but for the order of sums."""
        if pads_otherwise(self.conv):
            return self._products(a.bfloat16())
        return _Products.apply(a, rounded, self)

    def _products(self, a: Tensor) -> Tensor:
        conv, weight, bias = self.conv, self.weight, self.bias if self.summed else None
        if not has_bf16(weight.device):
            return conv._conv_forward(a.float(), weight.float(), bias).bfloat16()
        if bias is None:
            return conv._conv_forward(a, weight, None)
        # `conv2d` itself would want the bias in bf16, which is as wrong for every sample.
        return torch.ops.aten.mkldnn_convolution(
            a, weight, bias, conv.padding, conv.stride, conv.dilation, conv.groups
        )  # fmt: skip

    def whole(self, products: Tensor) -> Tensor:
        """Return the layer's output: in fp32, unless it is to stay in bf16."""
        if self.inner:
            return products
        return products.float() if self.bias is None or self.summed else products.float().add_(self.bias)


class _Products(torch.autograd.Function):
    """A convolution that keeps nothing for its way back: PyTorch's would hold the input, which only the filters'
    gradient needs."""

    @staticmethod
    def forward(ctx: Any, a: Tensor, rounded: Tensor, half: HalfConv) -> Tensor:
        ctx.half, ctx.shape, ctx.stride, ctx.dtype = half, a.shape, a.stride(), a.dtype
        return half._products(rounded)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        conv, weight = ctx.half.conv, ctx.half.weight
        native = has_bf16(weight.device)
        g, weight = (value if native else value.float() for value in (grads[0], weight))
        # Of the input only its shape and layout matter.
        a = torch.empty_strided(ctx.shape, ctx.stride, dtype=g.dtype, device=g.device)
        pulled = torch.ops.aten.convolution_backward(
            g, a, weight, None, conv.stride, conv.padding, conv.dilation, False, [0] * len(conv.stride), conv.groups,
            [True, False, False],
        )[0]  # fmt: skip
        return pulled.bfloat16().to(ctx.dtype), None, None


class HalfConvs:
    """The convolutions of a model among `names` that can run in bf16, whether their norm is folded or not, but for
    those that somebody's hook watches; what was rounded is kept until it changes. `between`: a ReLU alone may hand bf16
    on."""

    def __init__(
        self, modules: Mapping[str, nn.Module], names: Iterable[str], rectified: Mapping[str, Rectified]
    ) -> None:
        self.between = True
        self._modules, self._rectified = modules, rectified
        self._convs: dict[str, Any] = {name: modules[name] for name in names if suited(modules[name])}
        self._halves: Remembered[HalfConv] = Remembered()

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._convs)

    def now(self, folded: Mapping[str, Folded]) -> dict[str, HalfConv]:
        """Return {module name: its bf16 form}, of the filters in `folded` where it is there."""
        free = {name: conv for name, conv in self._convs.items() if not watched(conv)}
        tensors = {name: _filters(folded.get(name, conv)) for name, conv in free.items()}
        # What was folded is new where it differs.
        sums = contents({name: own for name, own in tensors.items() if name not in folded})
        inner, found = self._inner(free, folded), {}
        for name, own in tensors.items():
            make = partial(_half, free[name], name in inner, *own)
            found[name] = self._halves.get((name, name in inner), own, make, contents=sums.get(name, ()))
        return found

    def _inner(self, free: Mapping[str, Any], folded: Mapping[str, Folded]) -> set[str]:
        """Return those with nothing but a ReLU between them and others in bf16."""
        # A hook on any module may meet what a ReLU gives.
        if not self.between or any(watched(module) for module in self._modules.values()):
            return set()
        return {
            name
            for name, behind in self._rectified.items()
            if name in free and (behind.norm is None or name in folded) and behind.readers <= set(free)
            and _sums_bias(free[name])
        }  # fmt: skip


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


def _sums_bias(conv: Any) -> bool:
    """Return whether there is a convolution of this kind in bf16 with a bias in fp32."""
    on_cpu = conv.weight.device.type == "cpu" and torch.backends.mkldnn.is_available()
    return on_cpu and isinstance(conv, nn.Conv2d) and not pads_otherwise(conv)


@torch.no_grad()
def _half(conv: Any, inner: bool, weight: Tensor, bias: Tensor | None = None) -> HalfConv:
    summed = _sums_bias(conv)
    if bias is not None:
        bias = bias.detach() if summed else per_filter(bias.detach(), weight[:, 0])
    return HalfConv(conv, weight.detach().bfloat16(), bias, summed, inner)
