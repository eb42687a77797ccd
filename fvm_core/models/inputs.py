"""Pixels in, normalised tensors out; crop and flip for training."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from fvm_core.errors import DataError, SettingsError
from fvm_core.models.spec import ModelSpec


def to_input(pixels: NDArray[np.uint8], spec: ModelSpec, *, device: str | torch.device = "cpu") -> Tensor:
    """Return (b, c, h, w) float32 = (pixels / 255 - mean) / std on `device`, contiguous.

    `pixels` is (b, h, w, c) uint8 with c = `spec.in_channels`; it is not changed.

    Raises:
        DataError: another dtype, number of axes or channels.
        SettingsError: `mean` or `std` neither one value nor one a channel, or a `std` that is not positive.
    """
    channels = spec.in_channels
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] != channels:
        raise DataError(
            f"`pixels` must be uint8 of shape (b, h, w, {channels}) for this model, got {pixels.dtype} "
            f"{pixels.shape}. Decode the images with {channels} channel(s)."
        )
    for name in ("mean", "std"):
        if len(getattr(spec, name)) not in (1, channels):
            raise SettingsError(f"`{name}` must hold 1 or {channels} values, got {getattr(spec, name)!r}.")
    if min(spec.std) <= 0:
        raise SettingsError(f"`std` must be > 0, got {spec.std!r}.")
    tensor = torch.tensor(pixels, device=device).permute(0, 3, 1, 2).to(torch.float32, copy=True)
    mean = torch.tensor(spec.mean, dtype=torch.float32, device=device).view(1, -1, 1, 1)
    std = torch.tensor(spec.std, dtype=torch.float32, device=device).view(1, -1, 1, 1)
    return tensor.div_(255).sub_(mean).div_(std).contiguous()


def black(spec: ModelSpec) -> Tensor:
    """Return (c,) float32: what a black pixel (0) becomes in `to_input`, so (0 - mean) / std."""
    return to_input(np.zeros((1, 1, 1, spec.in_channels), np.uint8), spec).view(-1)


def random_crop_flip(x: Tensor, generator: torch.Generator, *, fill: Tensor, padding: int = 4) -> Tensor:
    """Return (b, c, h, w): each image padded on all sides, cropped at random, mirrored with chance 1/2.

    `fill` (c,) is the colour of the border. With `black(spec)` the result is, to the last bit, that of the usual
    recipe, which pads the raw pixels with zeros and normalises afterwards. The draws come from `generator` (on the CPU)
    alone, so one seed gives one result on every device.
    """
    b, _, h, w = x.shape
    shifts = torch.randint(0, 2 * padding + 1, (2, b), generator=generator)
    mirrored = torch.randint(0, 2, (b,), generator=generator).bool()
    columns = torch.arange(w).expand(b, w)
    columns = torch.where(mirrored[:, None], w - 1 - columns, columns) + shifts[1][:, None]
    rows = torch.arange(h).expand(b, h) + shifts[0][:, None]
    padded = fill.to(x).repeat(b, h + 2 * padding, w + 2 * padding, 1)
    padded[:, padding : padding + h, padding : padding + w] = x.permute(0, 2, 3, 1)
    samples = torch.arange(b)[:, None, None].to(x.device)
    out = padded[samples, rows[:, :, None].to(x.device), columns[:, None, :].to(x.device)]
    return out.permute(0, 3, 1, 2).contiguous()
