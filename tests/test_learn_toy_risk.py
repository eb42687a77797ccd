"""The risk of Figure 1: derivatives against autograd, estimates against closed forms of a parabola's and a bell's."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch

from fvm_core.errors import SettingsError
from fvm_core.learn.toy_risk import ToyRisk, Well, foretell

RISK = ToyRisk(wells=(Well(centre=-2, depth=1, width=0.25), Well(centre=1.5, depth=0.8, width=1.1)), bowl=0.03)


def test_slope_and_curvature_are_those_of_autograd() -> None:
    def value(t: torch.Tensor) -> torch.Tensor:
        bells = (w.depth * torch.exp(-((t - w.centre) ** 2) / (2 * w.width**2)) for w in RISK.wells)
        return RISK.level + RISK.bowl * t**2 / 2 - sum(bells)

    for at in np.linspace(-4, 4, 23):
        t = torch.tensor(at, dtype=torch.float64, requires_grad=True)
        first = torch.autograd.grad(value(t), t, create_graph=True)[0]
        second = torch.autograd.grad(first, t)[0]
        assert RISK.value(at) == pytest.approx(value(t).item(), abs=1e-12)
        assert RISK.slope(at) == pytest.approx(first.item(), abs=1e-12)
        assert RISK.curvature(at) == pytest.approx(second.item(), abs=1e-11)


def test_minimum_is_flat_ground_and_lower_than_around() -> None:
    for which in (0, 1):
        at = RISK.minimum(which)
        assert RISK.slope(at) == pytest.approx(0, abs=1e-12) and RISK.curvature(at) > 0
        assert RISK.value(at) < min(RISK.value(at - 0.01), RISK.value(at + 0.01))


def test_estimates_of_one_bell_are_the_closed_form() -> None:
    width, depth, delta = 0.5, 2.0, 0.3
    risk = ToyRisk(wells=(Well(centre=0, depth=depth, width=width),), bowl=0)
    found = foretell(risk, 0.0, delta)
    assert found.first == 0
    assert found.second == pytest.approx(depth / width**2 * delta**2 / 2)
    assert found.actual == pytest.approx(depth * (1 - math.exp(-(delta**2) / (2 * width**2))))
    assert found.second_gap == pytest.approx(found.second - found.actual) and found.first_gap == -found.actual


def test_estimates_far_out_on_the_bowl_are_exact_for_a_parabola() -> None:
    found = foretell(ToyRisk(wells=(), bowl=0.4), 3.0, -1.5)
    assert found.first == pytest.approx(0.4 * 3 * -1.5)
    assert found.second == pytest.approx(found.actual)


def test_errors_say_what_to_change() -> None:
    with pytest.raises(SettingsError, match="`width` must be > 0, got 0"):
        Well(centre=0, depth=1, width=0)
    with pytest.raises(SettingsError, match="`depth` must be > 0, got -1"):
        Well(centre=0, depth=-1, width=1)
    with pytest.raises(SettingsError, match="`centre` must be a finite number"):
        Well(centre=math.nan, depth=1, width=1)
    swallowed = ToyRisk(wells=(Well(centre=1, depth=0.01, width=0.3), Well(centre=0, depth=5, width=1)))
    with pytest.raises(SettingsError, match="the other well swallows it"):
        swallowed.minimum(0)
