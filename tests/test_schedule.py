"""Learning rates against torch's schedulers."""

from __future__ import annotations

import warnings

import pytest
import torch

from fvm_core.tuning.schedule import cosine, one_cycle, step_drops, train_lr
from fvm_core.tuning.settings import TrainSettings


def torch_rates(make, steps: int, lr: float) -> list[float]:
    optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = make(optimizer)
        rates = []
        for _ in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            optimizer.step()
            scheduler.step()
    return rates


def test_cosine_equals_torch_and_ends_at_zero() -> None:
    want = torch_rates(lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, T_max=37), 38, 0.01)
    assert [cosine(step, lr=0.01, steps=37) for step in range(38)] == pytest.approx(want, abs=1e-9)
    assert cosine(0, lr=0.01, steps=1000) == 0.01
    assert cosine(1000, lr=0.01, steps=1000) == 0.0


def test_step_drops_equal_multistep() -> None:
    want = torch_rates(lambda o: torch.optim.lr_scheduler.MultiStepLR(o, milestones=[3, 5]), 8, 0.1)
    assert [step_drops(epoch, lr=0.1, drop_epochs=(3, 5)) for epoch in range(8)] == pytest.approx(want)


@pytest.mark.parametrize("steps", [10, 97, 400])
def test_one_cycle_equals_torch(steps: int) -> None:
    want = torch_rates(lambda o: torch.optim.lr_scheduler.OneCycleLR(o, max_lr=0.2, total_steps=steps), steps - 1, 0.2)
    assert [one_cycle(step, lr=0.2, steps=steps) for step in range(steps - 1)] == pytest.approx(want, rel=1e-6)


@pytest.mark.parametrize("steps", [1, 2, 3, 4])
def test_one_cycle_is_positive_and_bounded_for_very_short_runs(steps: int) -> None:
    rates = [one_cycle(step, lr=0.2, steps=steps) for step in range(steps)]
    assert all(0 < rate <= 0.2 for rate in rates)


def test_train_lr_drops_at_the_paper_s_epoch() -> None:
    settings = TrainSettings()
    rates = [train_lr(step, settings=settings, steps_per_epoch=7) for step in (0, 50 * 7 - 1, 50 * 7, 100 * 7 - 1)]
    assert rates == pytest.approx([0.1, 0.1, 0.01, 0.01])
