"""One forward pass, then backward passes that hand every layer's input and output gradient to a consumer."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.autograd.graph import GradientEdge, get_gradient_edge

from fvm_core.influence.affine_norms import affine_norms
from fvm_core.influence.folded_norms import Folded, folded_norms
from fvm_core.influence.half_convs import HalfConv
from fvm_core.influence.layers import Calls
from fvm_core.influence.probing import leaves

Consumer = Callable[[str, list[int], list[Calls]], None]
"""Called as consumer(module name, indices of cotangents, calls of each): every layer and cotangent comes once."""


@contextmanager
def evaluating(model: nn.Module, *, parameter_grads: bool = False) -> Iterator[None]:
    """Put the model in eval mode, with gradients for all parameters or for none; everything is restored after."""
    modes = [(module, module.training) for module in model.modules() if module.training]
    flags = [(parameter, parameter.requires_grad) for parameter in model.parameters()]
    fastpath = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    for module, _ in modes:
        module.training = False
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
    """Hooks on modules of a model in `evaluating`: those in `calls` {name: runs in one forward}, found in `modules`.

    `backward` may be called several times after one `forward`; a layer's input is given up as soon as the last gradient
    that needs it has met it. `channels_last`: images go through in that layout. `folded`: a convolution here gives its
    norm's output, and so its gradient is the norm's. `halves`: convolutions that run in bf16, and whose consumer gets
    input and output gradient in bf16, as that of a Linear layer on positions does then; None: all is fp32.
    """

    def __init__(
        self,
        model: nn.Module,
        modules: Mapping[str, nn.Module],
        calls: dict[str, int],
        *,
        channels_last: bool = False,
        folded: Mapping[str, Folded] | None = None,
        halves: Mapping[str, HalfConv] | None = None,
    ) -> None:
        self.model, self.expected, self.channels_last = model, calls, channels_last
        self.folded, self._halves = folded or {}, halves or {}
        self._modules = modules
        self.bytes_out = dict.fromkeys(calls, 0)
        self._inputs: dict[str, list[Tensor]] = {}
        self._closing = self._final = False
        self._leaves: list[Tensor] = []
        self._edges: dict[str, list[GradientEdge]] = {}
        self._wanted: frozenset[str] | None = None
        self._grads: dict[str, list[tuple[int, int, Tensor]]] = {}
        self._consumer: Consumer | None = None
        self._together: frozenset[str] = frozenset()
        self._index = 0
        self._rounded = frozenset(
            name for name in calls if name in self._halves or (halves is not None and _rounds(self._modules[name]))
        )

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits (b, c), attached to a graph that reaches every hooked layer's output."""
        self._inputs = {name: [] for name in self.expected}
        self._edges = {name: [] for name in self.expected}
        convs = {name: self._in_half(name, half) for name, half in self._halves.items()}
        x = x.contiguous(memory_format=torch.channels_last) if self.channels_last else x
        handles = [
            self._modules[name].register_forward_hook(self._saver(name), prepend=True, with_kwargs=True)
            for name in self.expected
            if name not in convs
        ]
        try:
            with (
                torch.enable_grad(),
                folded_norms(self._modules, self.folded, convs),
                affine_norms(self._modules.values()),
            ):
                logits = self.model(x.detach())
        finally:
            for handle in handles:
                handle.remove()
        self._leaves = leaves(logits)  # ours, and what the model made one itself
        for name, count in self.expected.items():
            if len(self._inputs[name]) != count:
                raise RuntimeError(f"layer `{name}` ran {len(self._inputs[name])} times, {count} in the plan")
        return logits

    def _saver(self, name: str) -> Callable[..., Tensor]:
        def save(module: nn.Module, args: tuple[Tensor, ...], kwargs: dict[str, Tensor], out: Tensor) -> Tensor:
            return self._noted(name, args[0] if args else kwargs["input"], out)

        return save

    def _in_half(self, name: str, half: HalfConv) -> Callable[..., Tensor]:
        def forward(input: Tensor) -> Tensor:
            rounded = input.detach().bfloat16()
            products = half.products(input, rounded)
            return half.whole(self._noted(name, rounded, products) if name in self.expected else products)

        return forward

    def _noted(self, name: str, a: Tensor, out: Tensor) -> Tensor:
        """Keep the input of a layer, wait for the gradient at its output, and return that output."""
        call = len(self._inputs[name])
        self._inputs[name].append(a.detach())
        if not torch.is_grad_enabled():  # within the model's own `no_grad`: its gradient is zero
            return out
        self.bytes_out[name] = out.numel() * out.element_size()
        if not out.requires_grad:
            # A clone: later code may change the output in place, which autograd forbids on a leaf.
            out = out.detach().requires_grad_().clone()
        # Of the output as it is here: later code may change it in place.
        self._edges[name].append(get_gradient_edge(out))
        out.register_hook(lambda grad: self._arrived(name, call, grad.detach()))
        return out

    def _arrived(self, name: str, call: int, grad: Tensor) -> None:
        if self._consumer is None or (self._wanted is not None and name not in self._wanted):
            return
        if name in self._rounded and grad.dim() > 2:
            grad, self._inputs[name][call] = grad.bfloat16(), self._inputs[name][call].bfloat16()
        if self.expected[name] > 1 or name in self._together:
            self._grads[name].append((self._index, call, grad))
            if self._closing and self.expected[name] == 1:
                self._hand_on(name, self._consumer)
        else:
            self._consumer(name, [self._index], [[(self._inputs[name][call], grad)]])
            if self._final:
                self._inputs[name] = []

    def backward(
        self,
        logits: Tensor,
        cotangents: Sequence[Tensor],
        consumer: Consumer,
        *,
        together: frozenset[str] = frozenset(),
        layers: frozenset[str] | None = None,
        downward: bool = True,
        last: bool = True,
    ) -> None:
        """Send each cotangent (b, c) back from the logits.

        The consumer gets a layer as soon as its gradient is there; a layer in `together` once, for all cotangents,
        when the last one's gradient is there (the others' are held until then). `layers`: the consumer gets
        these only; with `downward` False nothing below them is computed.
        """
        self._consumer, self._together, self._wanted = consumer, together, layers
        self._grads = {name: [] for name, count in self.expected.items() if count > 1 or name in together}
        ends: list[Tensor] | list[GradientEdge] = self._leaves
        if layers is not None and not downward:
            ends = [edge for name in layers for edge in self._edges[name]]
        try:
            for index, cotangent in enumerate(cotangents):
                self._index, self._closing = index, index == len(cotangents) - 1
                self._final = last and self._closing
                if logits.requires_grad and ends:
                    # Not `backward`: that would add up in the leaves, in the very memory of gradients that are held.
                    retain = not last or index < len(cotangents) - 1
                    # Of a scalar: for tensors, PyTorch imports a computer algebra of 33 MB.
                    with torch.enable_grad():
                        root = (logits * cotangent).sum()
                    torch.autograd.grad(root, ends, retain_graph=retain, allow_unused=True)
                for name in self._grads:
                    if name not in together or self._closing:
                        self._hand_on(name, consumer)
        finally:
            self._consumer, self._grads = None, {}
            if last:
                self._inputs, self._leaves, self._edges = {}, [], {}

    def _hand_on(self, name: str, consumer: Consumer) -> None:
        grads, self._grads[name] = self._grads[name], []
        indices = sorted({index for index, _, _ in grads})
        many = [[(self._inputs[name][call], grad) for at, call, grad in grads if at == index] for index in indices]
        if indices:
            consumer(name, indices, many)
            if self._final:
                self._inputs[name] = []


def _rounds(module: nn.Module) -> bool:
    return isinstance(module, nn.Linear) and module.weight.dtype == torch.float32
