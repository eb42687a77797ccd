"""The input patches that a convolution's output positions see, in 1 to 3 axes."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fvm_core.influence.scratch import Scratch


def pads_otherwise(module: Any) -> bool:
    """Return whether the padding must be made explicit: operators themselves take widths of zeros only."""
    return isinstance(module.padding, str) or module.padding_mode != "zeros"


def padded(module: Any, a: Tensor) -> Tensor:
    """Return the input with the module's padding made explicit, so that a convolution without padding remains."""
    axes = len(module.kernel_size)
    if isinstance(module.padding, str):
        totals = [
            d * (k - 1) if module.padding == "same" else 0
            for d, k in zip(module.dilation, module.kernel_size, strict=True)
        ]
        sides = [(total // 2, total - total // 2) for total in totals]
    else:
        sides = [(width, width) for width in module.padding]
    if not any(left or right for left, right in sides):
        return a
    flat = [width for axis in reversed(range(axes)) for width in sides[axis]]
    return F.pad(a, flat, mode="constant" if module.padding_mode == "zeros" else module.padding_mode)


def patches(module: Any, a: Tensor, positions: torch.Size) -> Tensor:
    """Return a view (b, groups, in/groups, *kernel, *positions) of a padded input."""
    a = a.contiguous()
    batch, channels, steps = a.stride(0), a.stride(1), a.stride()[2:]
    inner = module.in_channels // module.groups
    shape = (a.shape[0], module.groups, inner, *module.kernel_size, *positions)
    strides = (
        batch, channels * inner, channels,
        *(step * d for step, d in zip(steps, module.dilation, strict=True)),
        *(step * s for step, s in zip(steps, module.stride, strict=True)),
    )  # fmt: skip
    return a.as_strided(shape, strides)


def channel_patches(module: Any, a: Tensor, positions: torch.Size, scratch: Scratch) -> Tensor:
    """Return (b * groups, t, i): the patches of a padded input copied channels last, in runs as long as a group's
    channels (times one row of the kernel where there are no groups and no dilation)."""
    a = a.movedim(1, -1).contiguous()
    steps, inner = a.stride()[1:-1], module.in_channels // module.groups
    view = a.as_strided(
        (len(a), module.groups, *positions, *module.kernel_size, inner),
        (
            a.stride(0), inner,
            *(step * s for step, s in zip(steps, module.stride, strict=True)),
            *(step * d for step, d in zip(steps, module.dilation, strict=True)),
            1,
        ),
    )  # fmt: skip
    return scratch.copied("patches", view).view(len(a) * module.groups, positions.numel(), -1)
