"""Squared per-sample gradients of Linear layers and convolutions on a GPU without ever writing a gradient to memory.

The plain PyTorch rules in `layers.py` and `layers_conv.py` are the reference; they are taken on a CPU, without Triton,
and where the kernels fail their check against them (`trusted`). **The kernels have not been run on a GPU yet.**
"""

from __future__ import annotations

import functools
import importlib.util
import math
import os
import warnings
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.conv_patches import padded, pads_otherwise

POSITIONS = 32
FILTERS, COLUMNS = 64, 64
"""The sides of a tile: 16 KiB of fp32 sums, and 16 KiB of inputs at a time."""
PROGRAMS = 1024
"""Programs that keep a GPU busy: sums over samples are split among so many."""


@dataclass(frozen=True)
class Launch:
    """What both kernels are told of one layer: `scalars` in their order after the tensors, and the tiles' sides."""

    scalars: tuple[int, ...]
    tiles: int
    filters: int
    columns: int

    def options(self) -> dict[str, Any]:
        precision = "ieee" if torch.get_float32_matmul_precision() == "highest" else "tf32"
        return {"FILTERS": self.filters, "COLUMNS": self.columns, "POSITIONS": POSITIONS, "PRECISION": precision}


def usable(module: Any, a: Tensor, g: Tensor) -> bool:
    """Return whether the kernels are to be used for this layer's input a (b, ...) and output gradient g."""
    interpreted = os.environ.get("TRITON_INTERPRET") == "1"
    if not (a.is_cuda or interpreted) or g.element_size() > 4:
        return False
    if isinstance(module, nn.Linear):
        fits = a.dim() > 2
    else:
        fits = module.in_channels > module.groups or module.groups == 1
    return fits and has_triton() and (interpreted or trusted(g.device, g.dtype))


@functools.cache
def has_triton() -> bool:
    """Return whether Triton can be imported: PyTorch brings it on Linux only."""
    return importlib.util.find_spec("triton") is not None


def fused_weighted(module: Any, a: Tensor, pulls: Tensor, weight: Tensor) -> Tensor:
    """Return (b, m) fp32: sum of weight * gradient^2 of the layer's weight, for the m output gradients of each sample.

    a (b, ...) is the layer's input, pulls (b, m, ...) gradients at its output, `weight` has the parameter's shape.
    Memory: one number a tile of 64 x 64 of the gradient.
    """
    from fvm_core.influence.fused_kernels import weighted_squares

    rows, labels = pulls.shape[:2]
    a, g, launch = _laid_out(module, a, pulls.flatten(0, 1))
    out = torch.empty(len(g), launch.tiles, device=g.device, dtype=torch.float32)
    weighted_squares[(len(g), launch.tiles)](
        a, g, weight.contiguous(), out, labels, a.stride(0), g.stride(0), *launch.scalars, **launch.options()
    )
    return out.sum(1, dtype=torch.float64).float().view(rows, labels)


def fused_summed(module: Any, a: Tensor, g: Tensor) -> Tensor:
    """Return (the weight's elements,) fp32: the sum over samples of gradient^2, for a (b, ...) and g (b, ...).

    Memory: as many copies of the weight as it takes to keep the device busy, 1024 tiles of 64 x 64 in all.
    """
    from fvm_core.influence.fused_kernels import summed_squares

    a, g, launch = _laid_out(module, a, g)
    chunks = min(len(g), max(1, PROGRAMS // launch.tiles))
    each = -(-len(g) // chunks)
    chunks = -(-len(g) // each)
    out = torch.empty(chunks, module.weight.numel(), device=g.device, dtype=torch.float32)
    summed_squares[(chunks, launch.tiles)](
        a, g, out, len(g), each, a.stride(0), g.stride(0), *launch.scalars, **launch.options()
    )
    return out.sum(0, dtype=torch.float64).float()


def _laid_out(module: Any, a: Tensor, g: Tensor) -> tuple[Tensor, Tensor, Launch]:
    """Return input and gradient as (b, channels, three axes) views, and how to launch; axes that lack have length 1."""
    a = a.to(g.dtype)
    kernel: tuple[int, ...] = (1,)
    padding: tuple[int, ...] = (0,)
    if isinstance(module, nn.Linear):
        a, g = (value.reshape(len(value), -1, value.shape[-1]).transpose(1, 2) for value in (a, g))
        stride = dilation = kernel
        groups = 1
    else:
        explicit = pads_otherwise(module)
        a = padded(module, a) if explicit else a
        kernel, stride, dilation, groups = module.kernel_size, module.stride, module.dilation, module.groups
        padding = (0,) * len(kernel) if explicit else module.padding
    missing = 3 - len(kernel)
    a, g = (value[(slice(None), slice(None), *[None] * missing)] for value in (a, g))
    kernel, stride, dilation = ((1,) * missing + tuple(value) for value in (kernel, stride, dilation))
    padding = (0,) * missing + tuple(padding)
    inner, outer, places = a.shape[1] // groups, g.shape[1] // groups, math.prod(kernel)
    filters, columns = _side(outer, FILTERS), _side(inner * places, COLUMNS)
    down, across = -(-outer // filters), -(-inner * places // columns)
    scalars = (
        across, down, inner, outer, places, math.prod(g.shape[2:]), *a.shape[2:], *g.shape[3:], *kernel[1:],
        *stride, *padding, *dilation, *a.stride()[1:], *g.stride()[1:],
    )  # fmt: skip
    return a, g, Launch(scalars, groups * down * across, filters, columns)


def _side(length: int, most: int) -> int:
    """Return the least power of two >= length, from 16 (what a matrix product takes) to `most`."""
    return min(most, max(16, 1 << (length - 1).bit_length()))


@functools.cache
def trusted(device: torch.device, dtype: torch.dtype) -> bool:
    """Return whether the kernels run on this device and agree with plain PyTorch on a small convolution.

    Taken once. Where they do not, a warning says so and the plain path is used.
    """
    generator = torch.Generator().manual_seed(0)
    conv = nn.Conv2d(24, 40, 3, stride=2, padding=1, bias=False).to(device)
    a = torch.randn(6, 24, 9, 8, generator=generator).to(device, dtype)
    g = torch.randn(6, 40, 5, 4, generator=generator).to(device, dtype)
    weight = torch.rand(conv.weight.shape, generator=generator).to(device)
    from fvm_core.influence.layers_conv import ConvRule

    grads = ConvRule().grads(conv, a.float(), g.float())["weight"].square()
    try:
        found = fused_weighted(conv, a, g.unsqueeze(1), weight)[:, 0]
        summed = fused_summed(conv, a, g)
    except Exception as error:  # a compiler's and a driver's errors are of many kinds
        warnings.warn(f"Triton's kernels do not run on {device}: plain PyTorch is used. {error}", stacklevel=2)
        return False
    same = torch.allclose(found, grads @ weight.flatten(), rtol=1e-2)
    same = same and torch.allclose(summed, grads.sum(0), rtol=1e-2, atol=1e-2 * float(grads.max()))
    if not same:
        warnings.warn(f"Triton's kernels give other numbers on {device}: plain PyTorch is used.", stacklevel=2)
    return same
