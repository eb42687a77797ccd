"""Per-sample gradients of LoRA by hooks, against autograd one sample at a time and torch.func's vmap."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_language import PAIRS, tiny_task
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fvm_core.errors import CheckpointError, SettingsError
from fvm_core.generation.language_task import LanguageTask
from fvm_core.generation.lora import lora_parameters, new_adapter
from fvm_core.generation.lora_gradients import layout_of, sample_gradients
from fvm_core.generation.pair_gradients import PairGradients


def one_by_one(task: Any, rows: list[int]) -> Tensor:
    """Return (b, p) by a backward pass for each sample."""
    values = list(lora_parameters(task.model).values())
    found = [torch.autograd.grad(task.losses(task.batch([row])).sum(), values) for row in rows]
    return torch.stack([torch.cat([one.flatten() for one in grads]) for grads in found])


@pytest.mark.parametrize("targets", ["", "q_proj,k_proj,v_proj,o_proj,gate_proj,up_proj,down_proj"])
def test_gradients_of_a_language_model_are_autograds(tmp_path: Path, targets: str) -> None:
    task = tiny_task(tmp_path, targets=targets)
    layout = layout_of(task.model)
    losses, grads = sample_gradients(task, [0, 1, 2, 3, 4], layout)
    wanted = one_by_one(task, [0, 1, 2, 3, 4])
    assert wanted.abs().amax(0).gt(1e-6).float().mean() > 0.9  # nearly every parameter moves: nothing is compared to 0
    torch.testing.assert_close(grads, wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    torch.testing.assert_close(losses, task.losses(task.batch([0, 1, 2, 3, 4])).detach())
    assert all(value.grad is None for value in task.model.parameters())


class Towers(nn.Module):
    """Linear layers on samples, on positions, and one that runs twice."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = nn.Linear(5, 7)
        self.twice = nn.Linear(7, 7, bias=False)
        self.last = nn.Linear(7, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.twice(torch.tanh(self.twice(torch.tanh(self.inner(x))))))
        return self.last(x.mean((1, 2)))


@dataclass(frozen=True)
class DrawnTask:
    """Each sample has two draws of (4, 5) numbers, flattened sample-major into the batch, as diffusion does."""

    model: nn.Module
    data: Tensor

    pairs = PAIRS

    def batch(self, rows: list[int]) -> Tensor:
        return self.data[rows].flatten(0, 1)

    def losses(self, batch: Tensor) -> Tensor:
        return self.model(batch).square().sum(1).reshape(-1, 2).mean(1)


def drawn_task(*, bias: bool = False) -> DrawnTask:
    torch.manual_seed(3)
    model = new_adapter(Towers(), rank=2, alpha=4.0, targets=["inner", "twice", "last"], seed=1)
    if bias:
        model.base_model.model.last.base_layer.bias.requires_grad_(True)
    for value in lora_parameters(model).values():
        nn.init.normal_(value)
    return DrawnTask(model, torch.randn(5, 2, 3, 4, 5))


def test_draws_positions_and_a_layer_that_runs_twice_add_up_as_under_vmap() -> None:
    task = drawn_task()
    layout = layout_of(task.model)
    _, grads = sample_gradients(task, [0, 1, 2, 3], layout)  # type: ignore[arg-type]
    tuned = {name: value.detach() for name, value in lora_parameters(task.model).items()}

    def loss(values: dict[str, Tensor], x: Tensor) -> Tensor:
        return functional_call(task.model, values, (x,)).square().sum(1).mean()

    found = vmap(grad(loss), (None, 0))(tuned, task.data[:4])
    for name, value in found.items():
        torch.testing.assert_close(layout.split(grads)[name], value.flatten(1), rtol=1e-4, atol=1e-5)


def test_tuned_biases_get_their_gradients() -> None:
    task = drawn_task(bias=True)
    layout = layout_of(task.model)
    assert any(name.endswith("base_layer.bias") for name in layout.slices)
    _, grads = sample_gradients(task, [0, 2], layout)  # type: ignore[arg-type]
    torch.testing.assert_close(grads, one_by_one(task, [0, 2]), rtol=1e-4, atol=1e-5)


def test_what_is_not_plain_lora_is_refused(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    task.model.get_input_embeddings().weight.requires_grad_(True)  # type: ignore[operator]
    with pytest.raises(CheckpointError, match=r"must be plain LoRA of Linear layers, but has .*embed_tokens"):
        layout_of(task.model)
    task.model.requires_grad_(False)
    with pytest.raises(CheckpointError, match=r"must have an adapter: none of its parameters is to be tuned"):
        layout_of(task.model)


@pytest.mark.parametrize("keep", [0, 1 << 30])
def test_pieces_are_the_whole_kept_or_not(tmp_path: Path, keep: int) -> None:
    task = tiny_task(tmp_path)
    told: list[tuple[int, int]] = []
    source = PairGradients(task, layout_of(task.model), 2, keep, lambda done, total: told.append((done, total)))
    wanted = one_by_one(task, [0, 1, 2, 3, 4])
    for _ in range(2):
        torch.testing.assert_close(source.all(), wanted, rtol=1e-4, atol=1e-4 * float(wanted.abs().max()))
    assert told == [(2, 5), (4, 5), (5, 5)] * (1 if keep else 2)
    assert len(source.losses) == 5


def test_memory_that_runs_out_names_the_batch_size(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task(tmp_path)

    def refuse(self: LanguageTask, batch: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    layout = layout_of(task.model)
    monkeypatch.setattr(LanguageTask, "losses", refuse)
    with pytest.raises(SettingsError, match=r"the GPU's memory must hold .* Lower `batch_size`"):
        sample_gradients(task, [0], layout)
