"""Exact gradients of each sample's loss in LoRA's parameters: one forward and backward pass, no copy of the model."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.errors import CheckpointError
from fvm_core.generation.lora import lora_parameters
from fvm_core.generation.memory import told_when_full
from fvm_core.generation.task import GenerationTask
from fvm_core.tuning.evaluate import eval_mode


@dataclass(frozen=True)
class Layout:
    """How LoRA's parameters lie in a vector (p,): `slices` {parameter: its place}, in the model's order.

    `modules`: {name of a Linear: the names of its weight and, if tuned, its bias}.
    """

    slices: dict[str, slice]
    modules: dict[str, dict[str, str]]

    @property
    def size(self) -> int:
        """The number of parameters p."""
        return max(place.stop for place in self.slices.values())

    def split(self, vector: Tensor) -> dict[str, Tensor]:
        """Return {parameter: (..., its size)}: views of (..., p)."""
        return {name: vector[..., place] for name, place in self.slices.items()}


def layout_of(model: nn.Module) -> Layout:
    """Return the layout of all parameters that ask for gradients.

    Raises:
        CheckpointError: none does, or one belongs to no Linear layer (DoRA, LoRA of a convolution or an embedding).
    """
    slices, start = {}, 0
    for name, value in lora_parameters(model).items():
        slices[name] = slice(start, start + value.numel())
        start += value.numel()
    modules: dict[str, dict[str, str]] = {}
    for name in slices:
        owner, _, part = name.rpartition(".")
        if not isinstance(model.get_submodule(owner), nn.Linear) or part not in ("weight", "bias"):
            raise CheckpointError(
                f"an adapter must be plain LoRA of Linear layers, but has the parameter `{name}`. Tune one of the "
                "queries and values, say."
            )
        modules.setdefault(owner, {})[part] = name
    return Layout(slices, modules)


def sample_gradients(task: GenerationTask, rows: Sequence[int], layout: Layout) -> tuple[Tensor, Tensor]:
    """Return the losses (b,) and the gradients (b, p) of the pairs at `rows`, float32, in eval mode.

    G_W of a sample is the sum over its positions t of (output gradient at t) (input at t)^T. Cost: a forward and a
    backward pass, and r (inputs + outputs) operations a position and layer. Memory: 4 b p bytes beside the passes.

    Raises:
        SettingsError: memory ran out.
    """
    model = task.model
    with told_when_full("`batch_size`"), eval_mode(model), torch.enable_grad():
        batch = task.batch(rows)
        values = list(lora_parameters(model).values())
        out = torch.zeros(len(rows), layout.size, device=values[0].device)
        with _captured(model, layout, out):
            losses = task.losses(batch)
            torch.autograd.grad(losses.sum(), values, allow_unused=True)
    return losses.detach().float(), out


@contextmanager
def _captured(model: nn.Module, layout: Layout, out: Tensor) -> Iterator[None]:
    """Inside, every backward pass adds each sample's gradients into `out` (b, p)."""
    handles = [
        model.get_submodule(name).register_forward_hook(_saver(parts, layout, out), prepend=True)
        for name, parts in layout.modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _saver(parts: dict[str, str], layout: Layout, out: Tensor) -> Callable[..., None]:
    def save(module: nn.Module, args: tuple[Tensor, ...], output: Tensor) -> None:
        seen, b = args[0].detach(), len(out)

        def arrived(grad: Tensor) -> None:
            pulled = grad.detach().reshape(b, -1, grad.shape[-1]).float()
            if "weight" in parts:
                found = torch.einsum("bto,bti->boi", pulled, seen.reshape(b, -1, seen.shape[-1]).float())
                out[:, layout.slices[parts["weight"]]] += found.reshape(b, -1)
            if "bias" in parts:
                out[:, layout.slices[parts["bias"]]] += pulled.sum(1)

        output.register_hook(arrived)

    return save


def batches_of(count: int, size: int) -> Iterator[list[int]]:
    """Yield 0..count-1 in pieces of `size`."""
    for start in range(0, count, size):
        yield list(range(start, min(start + size, count)))
