"""Learning rates as pure functions of the step, so that a resumed run has nothing to restore. No torch here."""

from __future__ import annotations

import math
from collections.abc import Sequence

from fvm_core.errors import SettingsError
from fvm_core.tuning.settings import TrainSettings


def cosine(step: int, *, lr: float, steps: int) -> float:
    """Return `lr` at step 0, falling as half a cosine to 0 at `steps` (paper B.1, tuning).

    >>> cosine(0, lr=0.01, steps=1000), round(cosine(500, lr=0.01, steps=1000), 6), cosine(1000, lr=0.01, steps=1000)
    (0.01, 0.005, 0.0)
    """
    return 0.5 * lr * (1.0 + math.cos(math.pi * min(step, steps) / steps))


def step_drops(epoch: int, *, lr: float, drop_epochs: Sequence[int], factor: float = 0.1) -> float:
    """Return `lr` times `factor` for each of `drop_epochs` <= `epoch` (from 0; paper B.1, training).

    >>> [round(step_drops(epoch, lr=0.1, drop_epochs=(50,)), 6) for epoch in (0, 49, 50, 99)]
    [0.1, 0.1, 0.01, 0.01]
    """
    return lr * factor ** sum(epoch >= drop for drop in drop_epochs)


def one_cycle(
    step: int, *, lr: float, steps: int, rise: float = 0.3, start_factor: float = 25.0, end_factor: float = 1e4
) -> float:
    """Return the one-cycle rate (Smith & Topin, 2018) with cosine flanks, as torch's OneCycleLR has it.

    It climbs from lr / start_factor to `lr` over the first `rise` of the steps and falls to
    lr / (start_factor * end_factor) at the last one (`steps` - 1).
    """
    first, last = lr / start_factor, lr / start_factor / end_factor
    peak = rise * steps - 1
    if step <= peak:
        return _cosine_between(first, lr, step / peak if peak > 0 else 1.0)
    return _cosine_between(lr, last, min((step - peak) / max(steps - 1 - peak, 1e-12), 1.0))


def _cosine_between(start: float, end: float, fraction: float) -> float:
    return end + 0.5 * (start - end) * (1.0 + math.cos(math.pi * fraction))


def train_lr(step: int, *, settings: TrainSettings, steps_per_epoch: int) -> float:
    """Return the learning rate of training step `step` (from 0) under `settings.schedule`.

    Raises:
        SettingsError: an unknown schedule.
    """
    if settings.schedule == "step":
        return step_drops(step // steps_per_epoch, lr=settings.lr, drop_epochs=settings.drop_epochs)
    if settings.schedule == "onecycle":
        return one_cycle(step, lr=settings.lr, steps=settings.epochs * steps_per_epoch)
    raise SettingsError(f"`schedule` must be `step` or `onecycle`, got {settings.schedule!r}.")
