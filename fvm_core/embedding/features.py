"""Penultimate features: what a classifier hands to its last linear layer."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.influence.capture import evaluating


def find_head(model: nn.Module, example: Tensor) -> tuple[str, int]:
    """Return the name and the width d of the last `nn.Linear` that runs when the model sees `example` (1, c, h, w).

    The order is that of the forward pass, not of the module's definition. Nothing is trained or changed.

    Raises:
        CheckpointError: no linear layer runs, or its outputs are not the model's (SqueezeNet ends in a convolution).
    """
    ran: list[tuple[str, nn.Linear, Tensor]] = []

    def seen(name: str, module: nn.Linear) -> torch.utils.hooks.RemovableHandle:
        return module.register_forward_hook(lambda _, __, out: ran.append((name, module, out.detach().clone())))

    handles = [seen(name, module) for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    try:
        with evaluating(model), torch.no_grad():
            logits = model(example)
    finally:
        for handle in handles:
            handle.remove()
    if not ran or not torch.equal(ran[-1][2].reshape(-1), logits.reshape(-1)):
        last = f"ends in something else after `{ran[-1][0]}`" if ran else "has none"
        raise CheckpointError(
            f"the model must end in a linear layer, whose input is the feature of an image, but {last}. "
            "Choose a model with a linear head."
        )
    return ran[-1][0], ran[-1][1].in_features


def penultimate(model: nn.Module, head: str, x: Tensor) -> Tensor:
    """Return the (b, d) float32 inputs of the layer `head` for images x (b, c, h, w), in eval mode.

    One forward pass; no gradient.
    """
    found: list[Tensor] = []

    def keep(_: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor]) -> None:
        found.append((args[0] if args else kwargs["input"]).detach())

    handle = model.get_submodule(head).register_forward_pre_hook(keep, with_kwargs=True)
    try:
        with evaluating(model), torch.no_grad():
            model(x)
    finally:
        handle.remove()
    return found[-1].reshape(len(x), -1).float()
