"""TracIn: against autograd, against real SGD steps, and its job on kept checkpoints."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from checkpointed import EPOCHS, add_checkpointed, inputs
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import CheckpointError, SettingsError
from fvm_core.influence import score
from fvm_core.influence.passes import tracin as tracin_pass
from fvm_core.influence.standard import validation_gradient
from fvm_core.influence.store import list_runs, read_scores
from fvm_core.influence.tracin import evenly, tracin_scores
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_snapshot
from fvm_core.models.store import read_record, write_record
from fvm_core.workspace import Workspace


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    add_checkpointed(workspace, tmp_path)
    return workspace


def arguments(**changes: Any) -> dict[str, Any]:
    settings = {"batch_size": 16, "limit": 40, **changes.pop("settings", {})}
    return {
        "model": "b", "dataset": "digits", "validation": "clean", "methods": ["tracin"], "run": "r",
        "settings": settings, **changes,
    }  # fmt: skip


def gradient(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """Return the gradient of the mean cross-entropy, flat, by autograd."""
    found = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    return torch.cat([value.flatten() for value in found])


def by_hand(workspace: Workspace, epochs: list[int], x: Tensor, y: Tensor) -> Tensor:
    x_val, y_val = inputs(workspace, "clean")
    total = torch.zeros(len(x))
    for epoch in epochs:
        model = load_snapshot(workspace, "b", f"checkpoints/epoch_{epoch:03d}.safetensors")
        g_val = gradient(model, x_val, y_val)
        for row in range(len(x)):
            total[row] += EPOCHS[epoch] * (g_val @ gradient(model, x[row : row + 1], y[row : row + 1]))
    return total


def test_the_file_holds_the_sum_over_checkpoints(ready: Workspace) -> None:
    context = MemoryContext()
    score.run(context, arguments(), ready)
    (item,) = list_runs(ready)
    frame = read_scores(item.path).frame
    x, y = inputs(ready, "digits", frame["row"].tolist())
    np.testing.assert_allclose(frame["score"], by_hand(ready, list(EPOCHS), x, y), rtol=1e-3, atol=1e-6)
    for label in (0, 7):
        wanted = by_hand(ready, list(EPOCHS), x[:5], torch.full((5,), label))
        np.testing.assert_allclose(np.stack(frame["label_scores"])[:5, label], wanted, rtol=1e-3, atol=1e-6)
    np.testing.assert_array_equal(np.stack(frame["label_scores"]).argmax(1), frame["suggested"])
    np.testing.assert_array_equal(frame["suspicion"], -frame["score"])
    assert any("epochs 2 (lr 0.1), 4 (lr 0.05), 6 (lr 0.02)" in note for note in item.provenance["notes"])
    done, total, _ = context.messages[-1]
    assert done == total


@pytest.mark.parametrize(
    ("settings", "checkpoint", "epochs"),
    [({"tracin_checkpoints": 1}, None, [6]), ({"tracin_checkpoints": 2}, None, [4, 6]), ({}, 4, [2, 4])],
)
def test_checkpoints_are_taken_evenly_and_none_after_the_scored_one(
    ready: Workspace, settings: dict[str, Any], checkpoint: int | None, epochs: list[int]
) -> None:
    score.run(MemoryContext(), arguments(settings={**settings, "limit": 5}, checkpoint=checkpoint), ready)
    frame = read_scores(ready.scores / "r" / "tracin.parquet").frame
    x, y = inputs(ready, "digits", frame["row"].tolist())
    np.testing.assert_allclose(frame["score"], by_hand(ready, epochs, x, y), rtol=1e-3, atol=1e-6)


def test_the_papers_five_of_ten_epochs() -> None:
    assert evenly(range(10, 101, 10), 5) == [20, 40, 60, 80, 100]
    for number in range(1, 12):
        chosen = evenly(range(8), number)
        assert len(set(chosen)) == min(number, 8) and chosen[-1] == 7 and chosen == sorted(chosen)
    with pytest.raises(SettingsError, match="`number` must be >= 1, got 0"):
        evenly([1], 0)


def test_a_step_on_a_sample_lowers_the_validation_loss_by_its_score() -> None:
    """Sign and size against real SGD steps of one sample each."""
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(5, 6), nn.Tanh(), nn.Linear(6, 3)).double()
    x, x_val = torch.randn(12, 5, dtype=torch.float64), torch.randn(20, 5, dtype=torch.float64)
    y, y_val = torch.randint(3, (12,)), torch.randint(3, (20,))
    lr = 1e-3
    direction = {name: lr * value for name, value in validation_gradient(model, [(x_val, y_val)]).items()}
    scores = tracin_scores([(model, direction)], x).gather(1, y[:, None])[:, 0]
    before = F.cross_entropy(model(x_val), y_val).item()
    for row in range(12):
        stepped = copy.deepcopy(model)
        optimizer = torch.optim.SGD(stepped.parameters(), lr=lr)
        F.cross_entropy(stepped(x[row : row + 1]), y[row : row + 1]).backward()
        optimizer.step()
        fall = before - F.cross_entropy(stepped(x_val), y_val).item()
        assert fall == pytest.approx(scores[row].item(), rel=0.05, abs=1e-6)
    with pytest.raises(SettingsError, match="`terms` must hold at least one checkpoint, got none"):
        tracin_scores([], x)


def test_a_model_without_checkpoints_is_told_before_any_work(ready: Workspace) -> None:
    write_record(ready, replace(read_record(ready, "b"), checkpoints=(), role="fvm", parent="a-base"))
    with pytest.raises(CheckpointError, match=r"model 'b' has none\. Score the base model it was tuned from, 'a-base'"):
        score.run(MemoryContext(), arguments(methods=["loss", "tracin"]), ready)
    write_record(ready, replace(read_record(ready, "b"), role="imported", parent=""))
    with pytest.raises(CheckpointError, match=r"has none\. Score a model trained here, or leave TracIn out"):
        score.run(MemoryContext(), arguments(methods=["loss", "tracin"]), ready)
    assert not list(ready.scores.rglob("*.parquet"))


def test_a_record_without_learning_rates_is_named(ready: Workspace) -> None:
    record = read_record(ready, "b")
    bare = tuple({"epoch": item["epoch"], "file": item["file"]} for item in record.checkpoints)
    write_record(ready, replace(record, checkpoints=bare))
    with pytest.raises(CheckpointError, match="the record of model 'b' has none for epoch 2"):
        score.run(MemoryContext(), arguments(), ready)


def test_directions_that_are_made_are_not_made_again(ready: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[int] = []
    real = tracin_pass.validation_gradient

    def counted(*args: Any, **options: Any) -> dict[str, Tensor]:
        made.append(1)
        return real(*args, **options)

    monkeypatch.setattr(tracin_pass, "validation_gradient", counted)
    context = MemoryContext(stop_at=11)
    with pytest.raises(JobStopped):
        score.run(context, arguments(), ready)
    before = len(made)
    context.stop_at = None
    score.run(context, arguments(), ready)
    assert before > 1 and len(made) == len(EPOCHS) + 1, "only the one that was cut is made again"
    score.run(MemoryContext(), arguments(run="whole"), ready)
    whole, cut = (read_scores(ready.scores / run / "tracin.parquet").frame for run in ("whole", "r"))
    np.testing.assert_array_equal(whole["score"], cut["score"])


def test_settings_out_of_range_are_named(ready: Workspace) -> None:
    with pytest.raises(SettingsError, match="`tracin_checkpoints` must be >= 1, got 0"):
        score.run(MemoryContext(), arguments(settings={"tracin_checkpoints": 0}), ready)
