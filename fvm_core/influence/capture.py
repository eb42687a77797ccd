"""One forward and one backward pass that hand every layer's input and output gradient to a consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from fvm_core.influence.layers import Calls

Consumer = Callable[[str, Calls], None]
"""Called as consumer(module name, calls) once for each layer and backward pass."""


@contextmanager
def evaluating(model: nn.Module, *, parameter_grads: bool = False) -> Iterator[None]:
    """Put the model in eval mode, with gradients for all parameters or for none; everything is restored after."""
    modes = [(module, module.training) for module in model.modules()]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    model.eval()
    for parameter, _ in flags:
        parameter.requires_grad_(parameter_grads)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fastpath)
        for module, mode in modes:
            module.training = mode
        for parameter, flag in flags:
            parameter.requires_grad_(flag)


class Capture:
    """Hooks on the named modules of a model in `evaluating`.

    `backward(cotangent, consumer)` may be called several times after one `forward`, each with its own (b, c) gradient
    at the logits. A layer's input is given up after the last backward.
    """

    def __init__(self, model: nn.Module, calls: dict[str, int]) -> None:
        self.model, self.expected = model, calls
        self._inputs: dict[str, list[Tensor]] = {}
        self._grads: dict[str, list[tuple[int, Tensor]]] = {}
        self._consumer: Consumer | None = None

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (b, c), attached to a graph that reaches every hooked layer's output."""
        self._inputs = {name: [] for name in self.expected}
        handles = [
            self.model.get_submodule(name).register_forward_hook(self._saver(name), prepend=True, with_kwargs=True)
            for name in self.expected
        ]
        try:
            with torch.enable_grad():
                logits = self.model(x)
        finally:
            for handle in handles:
                handle.remove()
        for name, count in self.expected.items():
            if len(self._inputs[name]) != count:
                raise RuntimeError(f"layer `{name}` ran {len(self._inputs[name])} times, {count} in the plan")
        return logits

    def _saver(self, name: str) -> Callable[..., Tensor]:
        def save(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], out: Tensor) -> Tensor:
            index = len(self._inputs[name])
            self._inputs[name].append((args[0] if args else kwargs["input"]).detach())
            if not out.requires_grad:
                # A clone: later code may change the output in place, which autograd forbids on a leaf.
                out = out.detach().requires_grad_().clone()
            out.register_hook(lambda grad: self._arrived(name, index, grad))
            return out

        return save

    def _arrived(self, name: str, index: int, grad: Tensor) -> None:
        if self._consumer is None:
            return
        if self.expected[name] == 1:
            self._consumer(name, [(self._inputs[name][0], grad.detach())])
        else:
            self._grads[name].append((index, grad.detach()))

    def backward(self, logits: Tensor, cotangent: Tensor, consumer: Consumer, *, last: bool = True) -> None:
        """Send `cotangent` (b, c) back from the logits; the consumer gets each layer as soon as it is complete."""
        self._grads = {name: [] for name, count in self.expected.items() if count > 1}
        self._consumer = consumer
        try:
            if logits.requires_grad:
                logits.backward(cotangent, retain_graph=not last)
            for name, grads in self._grads.items():
                if grads:
                    consumer(name, [(self._inputs[name][index], grad) for index, grad in grads])
        finally:
            self._consumer, self._grads = None, {}
            if last:
                self._inputs = {}


def parameter_uses(outputs: Iterable[Tensor]) -> dict[int, int]:
    """Return {id(parameter): how many operations of the graph behind `outputs` read it}."""
    uses: dict[int, int] = {}
    seen: set[object] = set()
    stack = [out.grad_fn for out in outputs if out.grad_fn is not None]
    while stack:
        node = stack.pop()
        if node in seen:
            continue
        seen.add(node)
        for parent, _ in node.next_functions:
            if parent is None:
                continue
            variable = getattr(parent, "variable", None)
            if variable is not None:
                uses[id(variable)] = uses.get(id(variable), 0) + 1
            else:
                stack.append(parent)
    return uses
