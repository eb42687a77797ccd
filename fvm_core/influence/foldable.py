"""Which norms can be folded into the convolution before them: decided once, by running the model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.folded_norms import FoldedNorms, Pair, folded_norms, watched
from fvm_core.influence.probing import Hook, readers, run_watched

JOINED = 5
"""Elements of a filter for each position of its output, up to which reading the gradient once more is cheaper than
keeping and reading the output (measured)."""


def find_pairs(model: nn.Module, x: Tensor, ruled: Mapping[str, int]) -> tuple[Pair, ...]:
    """Return the pairs of layers in `ruled` {module name: runs} that can be folded, from one run in eval mode on x
    (b, ...) whose graph reaches every layer."""
    convs: dict[Any, tuple[str, Tensor]] = {}
    norms: list[tuple[str, str, Tensor, int]] = []

    def watch(name: str) -> Hook:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            if isinstance(module, nn.Conv2d):
                convs[out.grad_fn] = name, out
            elif args and args[0].grad_fn in convs and args[0] is convs[args[0].grad_fn][1]:
                norms.append((convs[args[0].grad_fn][0], name, out, out._version))

        return hook

    names = [name for name, module in model.named_modules() if ruled.get(name) == 1 and _foldable(module)]
    logits = run_watched(model, x, {name: watch(name) for name in names})
    counts = readers([logits])
    outputs = {name: out.grad_fn for name, out in convs.values()}
    pairs = tuple(
        Pair(conv, norm, out._version != version, _joined(model.get_submodule(conv), out))
        for conv, norm, out, version in norms
        if counts.get(outputs[conv], 0) == 1
    )
    return pairs if _agree(model, x, logits, pairs) else ()


def _joined(conv: Any, out: Tensor) -> bool:
    return conv.weight[0].numel() <= JOINED * out.shape[2:].numel()


def _foldable(module: Any) -> bool:
    if watched(module):
        return False
    if type(module) is nn.Conv2d:
        return module.weight.is_floating_point() and module.weight.element_size() >= 4
    own = type(module) is nn.BatchNorm2d and module.running_mean is not None and module.weight is not None
    return own and module.bias is not None and module.weight.dtype == module.running_mean.dtype


@torch.no_grad()
def _agree(model: nn.Module, x: Tensor, logits: Tensor, pairs: tuple[Pair, ...]) -> bool:
    """Return whether the model gives the same with its norms folded: it may read a layer's output in a way that the
    graph does not show."""
    modules = dict(model.named_modules())
    with folded_norms(modules, FoldedNorms(modules, pairs).now()):
        found = model(x)
    return bool((found - logits).abs().amax() <= 1e-3 * logits.abs().amax())
