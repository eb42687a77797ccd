"""Exact per-sample gradients of the scale and shift after a normalisation."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence.layers import Rule


class NormRule(Rule):
    """Scale and shift after a normalisation: gradients are sums over positions of g * normalised input, and of g."""

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return 3 * a[0].numel()

    def normalised(self, module: Any, a: Tensor) -> Tensor:
        """Return the input as it is right before the scale."""
        raise NotImplementedError

    def per_channel(self, module: Any, value: Tensor) -> Tensor:
        """Sum (b, c, positions...) to (b, c)."""
        return value.flatten(2).sum(2) if value.dim() > 2 else value

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        out = {}
        if module.weight is not None:
            out["weight"] = self.per_channel(module, self.normalised(module, a).mul_(g))
        if module.bias is not None:
            # `square_` of a caller must not reach the caller's gradient where nothing was summed.
            out["bias"] = self.per_channel(module, g if g.dim() > 2 else g.clone())
        return out


class BatchNormRule(NormRule):
    """BatchNorm with running statistics (eval mode): an affine map with constant mean and variance."""

    forward_of = (nn.BatchNorm1d, nn.BatchNorm2d, nn.BatchNorm3d)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return module.running_mean is not None and len(input_shape) >= 2

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return 4 * a[0].numel()

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        if a.dim() == 4 and not a.is_contiguous() and a.is_contiguous(memory_format=torch.channels_last):
            return self._along_channels(module, a, g)
        # Samples laid side by side as channels: one fused kernel gives both sums for every (sample, channel).
        rows = a.shape[0]
        wide = (1, a.shape[0] * a.shape[1], *(a.shape[2:] or (1,)))
        mean, variance = module.running_mean.repeat(rows), module.running_var.repeat(rows)
        _, weight, bias = torch.ops.aten.native_batch_norm_backward(
            g.reshape(wide), a.reshape(wide), mean, mean, variance, None, None, False, module.eps, [False, True, True]
        )
        out = {"weight": weight, "bias": bias}
        return {name: out[name].view(rows, -1) for name in out if getattr(module, name) is not None}

    def _along_channels(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        a, g = (value.permute(0, 2, 3, 1).flatten(1, 2) for value in (a, g))
        scale = (module.running_var + module.eps).rsqrt()
        out = {"weight": (a - module.running_mean).mul_(g).sum(1).mul_(scale), "bias": g.sum(1)}
        return {name: value for name, value in out.items() if getattr(module, name) is not None}


class GroupNormRule(NormRule):
    """GroupNorm: statistics of the sample itself."""

    forward_of = (nn.GroupNorm,)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) >= 2

    def normalised(self, module: Any, a: Tensor) -> Tensor:
        return F.group_norm(a, module.num_groups, None, None, module.eps)


class LayerNormRule(NormRule):
    """LayerNorm over the last axes; the parameters have their shape, axes between them and b are summed."""

    forward_of = (nn.LayerNorm,)

    def fits(self, module: Any, input_shape: torch.Size) -> bool:
        return len(input_shape) > len(module.normalized_shape)

    def normalised(self, module: Any, a: Tensor) -> Tensor:
        return F.layer_norm(a, module.normalized_shape, None, None, module.eps)

    def per_channel(self, module: Any, value: Tensor) -> Tensor:
        size = 1
        for length in module.normalized_shape:
            size *= length
        return value.reshape(value.shape[0], -1, size).sum(1)
