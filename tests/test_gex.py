"""GEX: members against a training loop of the test's own, BatchNorm statistics by hand, the job through kills."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from checkpointed import add_checkpointed, inputs
from torch import nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.influence import score
from fvm_core.influence.gex import squared_shift
from fvm_core.influence.passes import gex as gex_pass
from fvm_core.influence.store import list_runs, read_scores
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.checkpoint import load_model
from fvm_core.tuning.batches import MEMBERS, Batches, derived_seed
from fvm_core.tuning.member import tune_member
from fvm_core.tuning.settings import TuneSettings
from fvm_core.workspace import Workspace

SETTINGS = {"batch_size": 16, "limit": 60, "gex_members": 3, "gex_steps": 5, "gex_lr": 0.05}
CLEAN = 200


@pytest.fixture
def ready(workspace: Workspace, tmp_path: Path) -> Workspace:
    add_checkpointed(workspace, tmp_path, clean=CLEAN)
    return workspace


def arguments(**changes: Any) -> dict[str, Any]:
    settings = {**SETTINGS, **changes.pop("settings", {})}
    return {
        "model": "b", "dataset": "digits", "validation": "clean", "methods": ["gex"], "run": "r",
        "settings": settings, **changes,
    }  # fmt: skip


def scores(workspace: Workspace, run: str = "r") -> pd.DataFrame:
    return read_scores(workspace.scores / run / "gex.parquet").frame


def tuned_by_hand(model: nn.Module, x: torch.Tensor, y: torch.Tensor, *, seed: int) -> nn.Module:
    """SGD with momentum and decay written out, cosine from 0.05 over 5 steps, batches of 128 in the member's order;
    then statistics of BatchNorm as plain averages over the batches of one epoch."""
    model = copy.deepcopy(model).train()
    batches = Batches(len(x), 128, seed)
    velocity = [torch.zeros_like(p) for p in model.parameters()]
    for k in range(5):
        rows = torch.from_numpy(batches.at(k))
        grads = torch.autograd.grad(F.cross_entropy(model(x[rows]), y[rows]), list(model.parameters()))
        lr = 0.05 * (1 + math.cos(math.pi * k / 5)) / 2
        with torch.no_grad():
            for p, g, v in zip(model.parameters(), grads, velocity, strict=True):
                v.mul_(0.9).add_(g + 5e-4 * p)
                p.sub_(lr * v)
    seen: dict[nn.Module, list[tuple[torch.Tensor, torch.Tensor]]] = {}

    def note(module: nn.Module, args: tuple[torch.Tensor, ...], out: torch.Tensor) -> None:
        seen.setdefault(module, []).append((args[0].mean((0, 2, 3)), args[0].transpose(0, 1).flatten(1).var(1)))

    norms = [module for module in model.modules() if isinstance(module, nn.BatchNorm2d)]
    handles = [module.register_forward_hook(note) for module in norms]
    with torch.no_grad():
        for k in range(batches.per_epoch):
            model(x[torch.from_numpy(batches.at(k))])
    for handle in handles:
        handle.remove()
    for module in norms:
        means, variances = zip(*seen[module], strict=True)
        module.running_mean.copy_(torch.stack(means).mean(0))  # type: ignore[union-attr, operator]
        module.running_var.copy_(torch.stack(variances).mean(0))  # type: ignore[union-attr, operator]
    return model.eval()


def test_the_file_holds_the_mean_over_members(ready: Workspace) -> None:
    context = MemoryContext()
    score.run(context, arguments(), ready)
    frame = scores(ready)
    x, y = inputs(ready, "digits", frame["row"].tolist())
    x_val, y_val = inputs(ready, "clean")
    model, record = load_model(ready, "b")

    def losses(model: nn.Module) -> np.ndarray:
        with torch.no_grad():
            return np.stack([F.cross_entropy(model(x), torch.full_like(y, k), reduction="none") for k in range(10)], 1)

    wanted = np.zeros((len(x), 10))
    for number in range(3):
        member = tuned_by_hand(model, x_val, y_val, seed=derived_seed(0, number, purpose=MEMBERS))
        wanted += (losses(member) - np.maximum(losses(model), 0.05)) ** 2 / 3
    # In fp32 a ReLU at its kink may go the other way: the exact comparison is the one in fp64 below.
    np.testing.assert_allclose(np.stack(frame["label_scores"]), wanted, rtol=2e-2, atol=1e-3)
    np.testing.assert_allclose(frame["score"], np.stack(frame["label_scores"])[np.arange(len(x)), y], rtol=1e-6)
    np.testing.assert_array_equal(np.stack(frame["label_scores"]).argmin(1), frame["suggested"])
    np.testing.assert_array_equal(frame["suspicion"], frame["score"])
    (item,) = list_runs(ready)
    assert any("3 members, each 5 steps of SGD" in note for note in item.provenance["notes"])
    speed = len(x) / item.provenance["seconds"]
    assert item.provenance["samples_per_second"] == pytest.approx(speed), "the work is done before the rows"
    done, total, _ = context.messages[-1]
    assert done == total
    assert not list(context.folder.rglob("state.pt")), "the states of the members are gone"
    assert load_model(ready, "b")[1].sha256 == record.sha256


@dataclass(frozen=True)
class DoubleFeed:
    """A feed in fp64."""

    x: torch.Tensor
    y: torch.Tensor

    def __len__(self) -> int:
        return len(self.x)

    def batch(self, positions: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[positions], self.y[positions]


@pytest.mark.parametrize("number", [0, 1])
def test_a_member_is_what_sgd_written_out_gives(ready: Workspace, number: int) -> None:
    x, y = inputs(ready, "clean")
    model = load_model(ready, "b")[0].double()
    seed = derived_seed(0, number, purpose=MEMBERS)
    member, told = copy.deepcopy(model), []
    recipe = TuneSettings(solver="sgd", steps=5, lr=0.05, seed=seed)
    feed = DoubleFeed(x.double(), y)
    tune_member(MemoryContext(), member, feed, recipe, identity="a", told=told.append)  # type: ignore[arg-type]
    wanted = tuned_by_hand(model, x.double(), y, seed=seed)
    for name, value in wanted.state_dict().items():
        if not name.endswith("num_batches_tracked"):
            torch.testing.assert_close(member.state_dict()[name], value, rtol=1e-9, atol=1e-12)
    assert told == [0, 1, 2, 3, 4, 5] and not member.training


def test_squared_shift_has_a_floor_below_and_none_above() -> None:
    before, after = torch.tensor([0.01, 0.5, 0.05]), torch.tensor([0.0, 0.5, 4.05])
    torch.testing.assert_close(squared_shift(before, after), torch.tensor([0.0025, 0.0, 16.0]))
    with pytest.raises(SettingsError, match=r"must have one shape, got \(3,\), \(2,\)"):
        squared_shift(before, after[:2])


class Killed(BaseException):
    """As sudden as a kill."""


class DyingContext(MemoryContext):
    def checkpoint(self) -> bool:
        if super().checkpoint():
            raise Killed
        return False


@pytest.mark.parametrize("context_class", [DyingContext, MemoryContext])
def test_a_cut_job_goes_on_where_it_stood(
    ready: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, context_class: type[MemoryContext]
) -> None:
    """Wherever it is killed (or stopped, inside a member), the scores are those of a job in one go."""
    for _ in range(2):  # the first one decodes the images too
        whole = MemoryContext()
        score.run(whole, arguments(run="whole"), ready)
    tuned: list[str] = []
    real = gex_pass.tune_member

    def counted(*args: Any, **options: Any) -> None:
        tuned.append(options["identity"])
        real(*args, **options)

    monkeypatch.setattr(gex_pass, "tune_member", counted)
    for at in range(5, whole.calls, 5):
        tuned.clear()
        context = context_class(folder=tmp_path / f"job-{at}", stop_at=at)
        with pytest.raises((Killed, JobStopped)):
            score.run(context, arguments(run="cut"), ready)
        context.stop_at = None
        score.run(context, arguments(run="cut"), ready)
        pd.testing.assert_frame_equal(scores(ready, "cut"), scores(ready, "whole"))
        assert len(set(tuned)) == 3 and len(tuned) <= 4, "a finished member is not tuned again"


def test_a_stop_inside_a_member_keeps_its_steps(ready: Workspace, tmp_path: Path) -> None:
    class Told(MemoryContext):
        until: str | None = "Member 2 of 3, step 3 of 5"

        def progress(self, done: int, total: int, message: str = "") -> None:
            super().progress(done, total, message)
            self.stop_at = 0 if message == self.until else None

    context = Told(folder=tmp_path / "job")
    with pytest.raises(JobStopped):
        score.run(context, arguments(), ready)
    context.until, context.stop_at = None, None
    context.messages.clear()
    score.run(context, arguments(), ready)
    said = [message for _, _, message in context.messages if message.startswith("Member 2 of 3, step")]
    assert said == ["Member 2 of 3, step 4 of 5", "Member 2 of 3, step 5 of 5"]
    (item,) = list_runs(ready)
    assert any("GEX was resumed" in note for note in item.provenance["notes"])


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"gex_members": 0}, "`gex_members` must be >= 1, got 0"),
        ({"gex_steps": 0}, "`gex_steps` must be >= 1, got 0"),
        ({"gex_lr": 0.0}, "`gex_lr` must be > 0, got 0.0"),
        ({"gex_lr": 1e9}, "Try a lower rate than 1000000000.0 for the members"),
    ],
)
def test_settings_that_cannot_work_are_named(ready: Workspace, settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        score.run(MemoryContext(), arguments(settings=settings), ready)
