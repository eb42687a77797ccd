"""One run of a model that is looked at: what its modules meet, and who reads what in its graph."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

Hook = Callable[[nn.Module, tuple[Any, ...], dict[str, Any], Any], None]
"""Called as hook(module, args, kwargs, output) when the module has run."""


def run_watched(model: nn.Module, x: Tensor, hooks: Mapping[str, Hook]) -> Any:
    """Return model(x) with its graph; `hooks` {module name: hook} hear of their modules before any other hook."""
    modules = dict(model.named_modules())
    handles = [
        modules[name].register_forward_hook(hook, prepend=True, with_kwargs=True) for name, hook in hooks.items()
    ]
    try:
        with torch.enable_grad():
            return model(x)
    finally:
        for handle in handles:
            handle.remove()


def all_readers(outputs: Iterable[Tensor]) -> dict[Any, list[Any]]:
    """Return {node of the graph behind `outputs`: the nodes that read it, as often as they do}."""
    found: dict[Any, list[Any]] = {}
    seen: set[Any] = set()
    stack: list[Any] = [out.grad_fn for out in outputs]
    while stack:
        node = stack.pop()
        if node is None or node in seen:
            continue
        seen.add(node)
        for parent, _ in node.next_functions:
            found.setdefault(parent, []).append(node)
            stack.append(parent)
    return found


def readers(outputs: Iterable[Tensor]) -> dict[Any, int]:
    """Return {node of the graph behind `outputs`: how many times other nodes read it}."""
    return {node: len(by) for node, by in all_readers(outputs).items()}


def leaves(output: Tensor) -> list[Tensor]:
    """Return the tensors that gradients at `output` flow back to in the end."""
    return [node.variable for node in readers([output]) if hasattr(node, "variable")]


def parameter_uses(outputs: Iterable[Tensor]) -> dict[int, int]:
    """Return {id(parameter): how many operations of the graph behind `outputs` read it}."""
    uses: dict[int, int] = {}
    for node, count in readers(outputs).items():
        variable = getattr(node, "variable", None)
        if variable is not None:
            uses[id(variable)] = uses.get(id(variable), 0) + count
    return uses
