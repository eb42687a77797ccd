"""Per-sample gradients of chosen parameters without knowing their layer: torch.func.vmap, or one sample at a time."""

from __future__ import annotations

import math
from collections.abc import Iterator

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap


def fallback_gradients(
    model: nn.Module, names: tuple[str, ...], x: Tensor, cotangent: Tensor, *, budget: int, by_loop: bool
) -> Iterator[tuple[slice, dict[str, Tensor]]]:
    """Yield (rows, {name: (rows, elements)}) gradients of sum(logits * cotangent), each sample seen alone.

    Only `names` are differentiated. Cost: a forward and backward pass for x, whatever else is computed.
    """
    chosen = {name: model.get_parameter(name).detach() for name in names}
    rest = {name: value.detach() for name, value in model.named_parameters() if name not in chosen}
    rest.update({name: value for name, value in model.named_buffers()})

    def pulled(values: dict[str, Tensor], sample: Tensor, pull: Tensor) -> Tensor:
        logits = functional_call(model, {**rest, **values}, (sample.unsqueeze(0),))
        return (logits[0] * pull).sum()

    floats = sum(value.numel() for value in chosen.values())
    step = 1 if by_loop else max(1, min(len(x), budget // max(1, 4 * (floats + 64 * math.prod(x.shape[1:])))))
    for start in range(0, len(x), step):
        rows = slice(start, min(len(x), start + step))
        if by_loop:
            with torch.enable_grad():
                leaves = {name: value.clone().requires_grad_() for name, value in chosen.items()}
                out = pulled(leaves, x[start], cotangent[start])
                found = torch.autograd.grad(out, list(leaves.values()), allow_unused=True, materialize_grads=True)
            grads = {name: value.unsqueeze(0) for name, value in zip(leaves, found, strict=True)}
        else:
            grads = vmap(grad(pulled), in_dims=(None, 0, 0))(chosen, x[rows], cotangent[rows])
        yield rows, {name: value.detach().flatten(1) for name, value in grads.items()}


def vmap_works(model: nn.Module, names: tuple[str, ...], x: Tensor, classes: int) -> bool:
    """Return whether torch.func.vmap can run this model (data-dependent control flow, for one, it cannot)."""
    try:
        for _ in fallback_gradients(model, names, x, x.new_ones(len(x), classes), budget=2**20, by_loop=False):
            pass
    except (RuntimeError, TypeError, ValueError, AttributeError):
        return False
    return True
