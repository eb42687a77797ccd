"""BatchNorm in eval mode as the one multiply-add that it is: PyTorch's backward sums up gradients that nobody wants."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.models.forwards import other_forwards


def affine_norms(modules: Iterable[nn.Module]) -> AbstractContextManager[None]:
    """Within the block, the forward of BatchNorm2d in eval mode is one multiply-add; its parameters get no gradient."""
    return other_forwards(
        (module, _affine(module))
        for module in modules
        if type(module) is nn.BatchNorm2d and module.running_mean is not None and "forward" not in vars(module)
    )


def _affine(module: Any) -> Callable[[Tensor], Tensor]:
    """Return the forward of a BatchNorm2d: as one multiply-add where that is the same."""

    def forward(input: Tensor) -> Tensor:
        a = input
        mean = module.running_mean
        if module.training or a.dim() != 4 or a.dtype != mean.dtype or a.shape[1] != len(mean):
            return type(module).forward(module, a)
        with torch.no_grad():
            scale = (module.running_var + module.eps).rsqrt()
            scale = scale if module.weight is None else scale * module.weight
            shift = -mean * scale
            shift = shift if module.bias is None else shift + module.bias
            # As large as an image: a row of a few channels alone would be read slowly.
            scale, shift = (_as_image(value, a) for value in (scale, shift))
        return torch.addcmul(shift, a, scale)

    return forward


def _as_image(value: Tensor, a: Tensor) -> Tensor:
    """Return (1, c, h, w) with value (c,) at every place, laid out as `a` is."""
    kind = torch.channels_last if a.is_contiguous(memory_format=torch.channels_last) else torch.contiguous_format
    return value.view(1, -1, 1, 1).expand(1, *a.shape[1:]).contiguous(memory_format=kind)
