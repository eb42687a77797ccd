"""Which convolutions are read by ReLUs alone, and those by convolutions alone: decided once, by running the model.

Between two convolutions that round what they take, a ReLU may run in their precision: it rounds nothing itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.folded_norms import Pair
from fvm_core.influence.probing import Hook, all_readers, run_watched


@dataclass(frozen=True)
class Rectified:
    """What stands behind one convolution: its `norm` or None, a ReLU, and the convolutions `readers`; all are names of
    modules."""

    norm: str | None
    readers: frozenset[str]


def find_rectified(
    model: nn.Module, x: Tensor, ruled: Mapping[str, int], pairs: tuple[Pair, ...]
) -> dict[str, Rectified]:
    """Return {convolution: what stands behind it} of the layers in `ruled` {module name: runs} that ran once, from one
    run in eval mode on x (b, ...) whose graph reaches every layer."""
    norms = {pair.conv: pair.norm for pair in pairs}
    nodes: dict[str, Any] = {}

    def watch(name: str) -> Hook:
        def hook(module: nn.Module, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
            nodes[name] = out.grad_fn

        return hook

    convs = {name for name, runs in ruled.items() if runs == 1 and _is_conv(model.get_submodule(name))}
    logits = run_watched(model, x, {name: watch(name) for name in convs | set(norms.values())})
    readers = all_readers([logits])
    names = {nodes[name]: name for name in convs if nodes[name] is not None}
    found = {}
    for name in convs:
        norm = norms.get(name)
        relus = readers.get(nodes[norm or name], [])
        beyond = [node for relu in relus for node in readers.get(relu, [None])]
        if relus and all(node.name() == "ReluBackward0" for node in relus) and all(node in names for node in beyond):
            found[name] = Rectified(norm, frozenset(names[node] for node in beyond))
    return found


def _is_conv(module: Any) -> bool:
    return isinstance(module, nn.modules.conv._ConvNd) and module.weight.dtype == torch.float32
