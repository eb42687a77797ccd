"""The input patches that a convolution's output positions see, in 1 to 3 axes."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from fvm_core.influence.scratch import Scratch


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
    return _copied(module, a.movedim(1, -1).contiguous(), positions, scratch, first=None)


def channel_strips(module: Any, a: Tensor, positions: torch.Size, scratch: Scratch) -> list[Tensor]:
    """Return the patches as (b * groups, t, i), one tensor for each place of the kernel's first axis.

    A row of the image serves all places of that axis: it is copied once, and the patches are slices of the copy.
    """
    stride = module.stride[0]
    # With a stride, rows of one remainder lie together.
    places = [divmod(place * module.dilation[0], stride) for place in range(module.kernel_size[0])]
    remainders = stride if any(remainder for _, remainder in places) else 1
    rows = places[-1][0] + positions[0]
    if (missing := stride * (rows - 1) + remainders - a.shape[2]) > 0:
        a = F.pad(a, [0, 0] * (len(positions) - 1) + [0, missing])
    wide = _copied(module, a.movedim(1, -1).contiguous(), positions, scratch, first=(remainders, rows))
    starts = [(remainder * rows + row) * positions[1:].numel() for row, remainder in places]
    return [wide[:, start : start + positions.numel()] for start in starts]


def strip_floats(module: Any, positions: torch.Size) -> int:
    """Return about how many floats `channel_strips` copies for one sample."""
    rows = module.stride[0] * positions[0] + module.dilation[0] * (module.kernel_size[0] - 1)
    return module.in_channels * math.prod(module.kernel_size[1:]) * rows * positions[1:].numel()


def _copied(
    module: Any, a: Tensor, positions: torch.Size, scratch: Scratch, *, first: tuple[int, int] | None
) -> Tensor:
    """Return the patches of a contiguous (b, *image, channels): of the whole kernel, or with `first` (remainders, rows)
    of all its axes but the first, for every row of the image."""
    steps, inner, at = a.stride()[1:-1], module.in_channels // module.groups, 1 if first else 0
    shape, strides = (first, (steps[0], steps[0] * module.stride[0])) if first else ((), ())
    view = a.as_strided(
        (len(a), module.groups, *shape, *positions[at:], *module.kernel_size[at:], inner),
        (
            a.stride(0), inner, *strides,
            *(step * s for step, s in zip(steps[at:], module.stride[at:], strict=True)),
            *(step * d for step, d in zip(steps[at:], module.dilation[at:], strict=True)),
            1,
        ),
    )  # fmt: skip
    copied = scratch.copied("patches", view)
    return copied.view(len(a) * module.groups, -1, inner * math.prod(module.kernel_size[at:]))
