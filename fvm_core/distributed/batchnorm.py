"""BatchNorm in train mode over the batch of all workers, on any device (torch's SyncBatchNorm needs a GPU)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from fvm_core.distributed.workers import Workers
from fvm_core.errors import SettingsError
from fvm_core.models.forwards import other_forwards


@contextmanager
def synchronised(model: nn.Module, workers: Workers) -> Iterator[None]:
    """Let every BatchNorm of `model` take its batch statistics, and their gradients, over all workers' samples.

    So a step sees the statistics of one process with the whole batch, and the running ones stay the same on every
    worker. In eval mode, and for one worker alone, nothing changes. A layer costs two small all-reduces a step.

    Raises:
        SettingsError: a BatchNorm with a forward pass of its own.
    """
    layers = [] if workers.size == 1 else [item for item in model.named_modules() if isinstance(item[1], _BatchNorm)]
    for name, layer in layers:
        if type(layer).forward is not _BatchNorm.forward:
            raise SettingsError(
                f"`{name}` must be a BatchNorm of torch.nn for several workers, got {type(layer).__name__}, whose "
                "batch statistics cannot be shared. Start it without torchrun."
            )
    with other_forwards((layer, partial(_forward, layer, workers)) for _, layer in layers):
        yield


def _forward(layer: _BatchNorm, workers: Workers, x: Tensor) -> Tensor:
    if not layer.training and layer.running_mean is not None:
        return type(layer).forward(layer, x)
    layer._check_input_dim(x)
    out, mean, variance, count = _Normalise.apply(x, layer.weight, layer.bias, layer.eps, workers)
    if layer.training and layer.running_mean is not None and layer.running_var is not None:
        assert layer.num_batches_tracked is not None
        layer.num_batches_tracked.add_(1)
        share = layer.momentum if layer.momentum is not None else 1.0 / float(layer.num_batches_tracked)
        with torch.no_grad():
            layer.running_mean.lerp_(mean.to(layer.running_mean), share)
            layer.running_var.lerp_((variance * count / (count - 1)).to(layer.running_var), share)
    return out


class _Normalise(torch.autograd.Function):
    """(x - mean) / sqrt(variance + eps) * weight + bias with mean and (biased) variance over all workers' samples.

    Statistics are summed in float64: the second moment from each worker's own centred one, so few digits cancel.
    """

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor | None, bias: Tensor | None, eps: float, workers: Workers) -> Any:
        wide = x if x.dtype == torch.float64 else x.float()
        dims = [0, *range(2, x.dim())]
        mean = wide.mean(dims, dtype=torch.float64)
        centred = (wide - _along(mean, wide)).square().sum(dims).double()
        count = torch.full_like(mean[:1], x.numel() / x.shape[1])
        sums = workers.sum_(torch.cat([count, count * mean, centred + count * mean.square()]))
        count, mean, second = sums[:1], *(sums[1:] / sums[:1]).chunk(2)
        variance = (second - mean.square()).clamp_min(0.0)
        scale = (variance + eps).rsqrt()
        out = (wide - _along(mean, wide)) * _along(scale, wide)
        ctx.save_for_backward(x, mean, scale, weight)
        ctx.workers, ctx.count, ctx.shifted = workers, count, bias is not None
        if weight is not None:
            out = out * _along(weight, wide)
        if bias is not None:
            out = out + _along(bias, wide)
        ctx.mark_non_differentiable(mean, variance, count)
        return out.to(x.dtype), mean, variance, count

    @staticmethod
    def backward(ctx: Any, pull: Tensor, *_: Any) -> Any:
        x, mean, scale, weight = ctx.saved_tensors
        wide = x if x.dtype == torch.float64 else x.float()
        pull, dims = pull.to(wide.dtype), [0, *range(2, x.dim())]
        normal = (wide - _along(mean, wide)) * _along(scale, wide)
        own = torch.cat([pull.sum(dims), (pull * normal).sum(dims)])
        sums = ctx.workers.sum_(own.to(torch.float64, copy=True)) / ctx.count
        slope, curve = sums.chunk(2)
        factor = scale if weight is None else scale * weight.double()
        found = (pull - _along(slope, wide) - normal * _along(curve, wide)) * _along(factor, wide)
        to_bias, to_weight = own.chunk(2)
        return (
            found.to(x.dtype), None if weight is None else to_weight.to(weight.dtype),
            to_bias.to(x.dtype if weight is None else weight.dtype) if ctx.shifted else None, None, None,
        )  # fmt: skip


def _along(value: Tensor, like: Tensor) -> Tensor:
    """Return (c,) as (1, c, 1, ...) in the dtype of `like`."""
    return value.to(like.dtype).view(1, -1, *[1] * (like.dim() - 2))
