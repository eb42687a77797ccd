"""LoRA tuning: a step by hand, LPF's noise, pieces of a batch, resuming, and what is measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from tiny_language import PAIRS, tiny_task
from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.generation.language_task import LanguageTask
from fvm_core.generation.lora import Adapter, lora_parameters
from fvm_core.generation.lora_tuning import LoraTuning, PairLoss, losses_of
from fvm_core.generation.settings import LanguageOptions, LoraSettings, PairScoreSettings, PretrainSettings
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.tuning.batches import NOISE, derived_seed
from fvm_core.tuning.loop import run_loop


def tuned(folder: Path, context: MemoryContext | None = None, **changes: Any) -> tuple[LanguageTask, MemoryContext]:
    """Tune a tiny task on its five pairs and return it with the context."""
    settings = LoraSettings(**{"batch_size": 2, "epochs": 2, "lr": 0.01, "eval_every": 0, **changes})
    task, context = tiny_task(folder), context or MemoryContext()
    with torch.random.fork_rng():
        run_loop(context, LoraTuning(context, task, task, task, settings).loop("same"))
    return task, context


def values(task: LanguageTask) -> list[Tensor]:
    return [value.detach().clone() for value in lora_parameters(task.model).values()]


def test_one_step_is_adamw_on_the_mean_loss(tmp_path: Path) -> None:
    task, _ = tuned(tmp_path / "a", role="vm", steps=1, epochs=None, batch_size=5, lr=0.02)
    other = tiny_task(tmp_path / "b")
    optimizer = torch.optim.AdamW(lora_parameters(other.model).values(), lr=0.02, weight_decay=0.0)
    other.losses(other.batch([0, 1, 2, 3, 4])).mean().backward()
    optimizer.step()
    for found, wanted in zip(values(task), values(other), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_fvm_steps_with_the_gradient_at_noisy_weights(tmp_path: Path) -> None:
    gamma, seed = 0.2, 5
    task, _ = tuned(tmp_path / "a", role="fvm", steps=1, epochs=None, batch_size=5, lr=0.02, gamma=gamma, seed=seed)
    other = tiny_task(tmp_path / "b")
    parameters = lora_parameters(other.model)
    start = {name: value.detach().clone() for name, value in parameters.items()}
    generator = torch.Generator().manual_seed(derived_seed(seed, 0, purpose=NOISE))
    for value in parameters.values():
        norms = value.detach().norm(dim=1, keepdim=True)  # a filter is a row: N(0, (gamma ||w_f||)^2)
        value.data += gamma * norms * torch.randn(value.shape, generator=generator)
    other.losses(other.batch([0, 1, 2, 3, 4])).mean().backward()
    for name, value in parameters.items():
        value.data = start[name]
    torch.optim.AdamW(parameters.values(), lr=0.02, weight_decay=0.0).step()
    for found, wanted in zip(values(task), values(other), strict=True):
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
    plain, _ = tuned(tmp_path / "c", role="vm", steps=1, epochs=None, batch_size=5, lr=0.02, seed=seed)
    assert any(not torch.allclose(a, b, atol=1e-3) for a, b in zip(values(task), values(plain), strict=True))


def test_pieces_of_a_batch_change_memory_not_the_gradient(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    parameters = list(lora_parameters(task.model).values())
    whole = PairLoss(task, [0, 1, 2, 3, 4], 8)()
    pieces = PairLoss(task, [0, 1, 2, 3, 4], 2)()
    assert pieces.item() == pytest.approx(whole.item(), rel=1e-5)
    wanted, found = torch.autograd.grad(whole, parameters), torch.autograd.grad(pieces, parameters)
    for a, b in zip(wanted, found, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("role", ["lora", "fvm"])
def test_a_resumed_run_ends_at_the_same_weights(tmp_path: Path, role: str) -> None:
    straight, _ = tuned(tmp_path / "a", role=role)
    context = MemoryContext(stop_at=3)
    with pytest.raises(JobStopped):
        tuned(tmp_path / "b", context, role=role)
    context.stop_at = None
    resumed, _ = tuned(tmp_path / "b", context, role=role)
    assert all(torch.equal(a, b) for a, b in zip(values(straight), values(resumed), strict=True))


def test_the_kept_state_leaves_the_frozen_base_out(tmp_path: Path) -> None:
    task = tiny_task(tmp_path)
    adapter = Adapter(task.model)
    assert sum(v.numel() for v in adapter.state_dict().values()) == sum(v.numel() for v in values(task))
    assert all(not value.requires_grad for name, value in task.model.named_parameters() if "lora_" not in name)


def test_tuning_lowers_the_loss_and_leaves_the_base_alone(tmp_path: Path) -> None:
    before = tiny_task(tmp_path / "a")
    rows = list(range(len(PAIRS)))
    start = sum(losses_of(before, rows, batch_size=5))
    task, _ = tuned(tmp_path / "b", epochs=20, lr=0.02)
    assert sum(losses_of(task, rows, batch_size=2)) < 0.9 * start
    frozen = {name: value for name, value in before.model.named_parameters() if "lora_" not in name}
    assert all(torch.equal(value, frozen[name]) for name, value in task.model.named_parameters() if name in frozen)


def test_what_is_watched_is_measured_when_due(tmp_path: Path) -> None:
    task, context = tuned(tmp_path, eval_every=2, sharpness_every=3, epochs=2, sharpness_rho=0.1)
    rows = {int(row["step"]): set(row) - {"step"} for row in context.metrics}
    assert rows[0] == {"noisy_loss", "val_loss", "sam_gap", "random_sharpness"}
    assert rows[1] == {"train_loss", "lr"} and rows[2] == rows[4] == {"train_loss", "lr", "noisy_loss", "val_loss"}
    assert rows[3] == {"train_loss", "lr", "sam_gap", "random_sharpness"} and len(rows[6]) == 6
    last = next(row for row in context.metrics if row["step"] == 6)
    assert last["val_loss"] == pytest.approx(sum(losses_of(task, range(5), batch_size=5)) / 5, rel=1e-5)


def test_memory_that_runs_out_names_micro_batch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task = tiny_task(tmp_path)

    def refuse(self: LanguageTask, batch: Any) -> Tensor:
        raise torch.OutOfMemoryError("CUDA out of memory")

    monkeypatch.setattr(LanguageTask, "losses", refuse)
    with pytest.raises(SettingsError, match=r"the GPU's memory must hold .* Lower `micro_batch`"):
        PairLoss(task, [0, 1], 2)()


def test_defaults_are_the_papers() -> None:
    lora, fvm = LoraSettings(), LoraSettings(role="fvm")
    assert (lora.rate, lora.batch_size, lora.total_steps(15)) == (3e-4, 64, 150)
    assert (fvm.rate, fvm.gamma, fvm.draws, fvm.total_steps(2)) == (3e-5, 0.001, 1, 10)
    assert (PairScoreSettings().epsilon, PairScoreSettings().datainf_damping) == (0.01, 0.1)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: LoraSettings(role="sam"), r"`role` must be one of .*, got 'sam'"),
        (lambda: LoraSettings(epochs=2, steps=3), r"`steps` must be none where `epochs` is given, got 3"),
        (lambda: LoraSettings(lr=0.0), r"`lr` must be > 0 or none, got 0.0"),
        (lambda: LoraSettings(rank=0), r"`rank` must be >= 1 or none, got 0"),
        (lambda: LoraSettings.from_json({"speed": 1}), r"unknown settings \['speed'\]"),
        (lambda: PairScoreSettings(methods="x"), r"`methods` must be among influence, tracin, datainf, got x"),
        (lambda: PairScoreSettings(damping=0.0), r"`damping` must be > 0, got 0.0"),
        (lambda: PretrainSettings(hidden=30), r"`hidden` must be a multiple of 2 x `heads`, got 30"),
        (lambda: PretrainSettings(problems=2.0), r"`problems` must be in \[0, 1\], got 2.0"),
        (lambda: LanguageOptions(dtype="int8"), r"`dtype` must be one of .*, got 'int8'"),
    ],
)
def test_settings_out_of_range_are_refused(make: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        make()
