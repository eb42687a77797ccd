"""Sharpness against closed forms, and what must not change."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.tuning.evaluate import eval_mode, evaluate
from fvm_core.tuning.sharpness import measure_sharpness


class Quadratic(nn.Module):
    """L(w) = 1/2 w^T A w, its parameters in two pieces."""

    def __init__(self, a: torch.Tensor, w: torch.Tensor) -> None:
        super().__init__()
        self.a = a
        self.first, self.rest = nn.Parameter(w[:1].clone()), nn.Parameter(w[1:].clone())

    def loss(self) -> torch.Tensor:
        w = torch.cat([self.first, self.rest])
        return 0.5 * w @ self.a @ w


def quadratic(seed: int = 0, size: int = 4) -> Quadratic:
    torch.manual_seed(seed)
    root = torch.randn(size, size, dtype=torch.float64)
    return Quadratic(root @ root.T, torch.randn(size, dtype=torch.float64))


def test_sam_gap_on_a_quadratic() -> None:
    model = quadratic()
    w, a, rho = torch.cat([model.first, model.rest]).detach(), model.a, 0.3
    g = a @ w
    gap = rho * float(g.norm()) + 0.5 * rho**2 * float(g @ a @ g / (g @ g))
    found = measure_sharpness(model, [lambda m: m.loss()], rho=rho, directions=1, seed=0)
    assert found.sam_gap == pytest.approx(gap, rel=1e-9)
    assert found.loss == pytest.approx(float(0.5 * w @ a @ w), rel=1e-12)


def test_random_sharpness_averages_to_the_trace_on_a_quadratic() -> None:
    """E[L(w + e)] - L(w) = rho^2 tr(A) / (2 p) for e uniform on the sphere of radius rho, whatever the slope."""
    model = quadratic()
    found = measure_sharpness(model, [lambda m: m.loss()], rho=0.5, directions=1500, seed=1)
    assert found.random == pytest.approx(0.25 * float(model.a.trace()) / 8, rel=0.05)


def test_random_directions_have_length_rho() -> None:
    model = quadratic()
    start = torch.cat([model.first, model.rest]).detach().clone()
    lengths: list[float] = []

    def loss(m: nn.Module) -> torch.Tensor:
        lengths.append(float((torch.cat([model.first, model.rest]).detach() - start).norm()))
        return model.loss()

    measure_sharpness(model, [loss], rho=0.7, directions=3, seed=0)
    assert lengths == pytest.approx([0.0] + 7 * [0.7])


def test_measuring_changes_nothing() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Dropout(0.5), nn.Flatten(), nn.Linear(27, 2))
    model[1].eval()
    x, y = torch.randn(6, 1, 5, 5), torch.randint(0, 2, (6,))
    F.cross_entropy(model(x), y).backward()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    modes, random_state = [module.training for module in model.modules()], torch.get_rng_state()
    measure_sharpness(model, [lambda m: F.cross_entropy(m(x), y)], rho=0.1, directions=2, seed=0)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert [module.training for module in model.modules()] == modes
    assert torch.equal(torch.get_rng_state(), random_state)


def test_the_same_seed_gives_the_same_directions() -> None:
    model = quadratic()
    first, again, other = (
        measure_sharpness(model, [lambda m: m.loss()], rho=0.1, directions=2, seed=seed) for seed in (5, 5, 6)
    )
    assert first == again and first.random != other.random and first.sam_gap == other.sam_gap


def test_parts_add_up_to_the_whole() -> None:
    torch.manual_seed(0)
    model = nn.Linear(4, 3)
    x, y = torch.randn(10, 4), torch.randint(0, 3, (10,))
    whole = measure_sharpness(model, [lambda m: F.cross_entropy(m(x), y)], rho=0.1, directions=2, seed=0)
    parts = [lambda m, r=r: F.cross_entropy(m(x[r]), y[r], reduction="sum") / 10 for r in (slice(0, 7), slice(7, 10))]
    found = measure_sharpness(model, parts, rho=0.1, directions=2, seed=0)
    assert found.loss == pytest.approx(whole.loss, rel=1e-6)
    assert found.sam_gap == pytest.approx(whole.sam_gap, rel=1e-4)
    assert found.random == pytest.approx(whole.random, rel=1e-3, abs=1e-6)


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"`rho` must be >= 0, got -1"):
        measure_sharpness(quadratic(), [lambda m: m.loss()], rho=-1, directions=1, seed=0)
    with pytest.raises(SettingsError, match=r"`directions` must be >= 1, got 0"):
        measure_sharpness(quadratic(), [lambda m: m.loss()], rho=1, directions=0, seed=0)


def test_evaluate_equals_one_pass_over_everything() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.BatchNorm1d(3), nn.Dropout(0.5)).train()
    x, y = torch.randn(23, 4), torch.randint(0, 3, (23,))
    loss, accuracy = evaluate(model, lambda rows: (x[rows], y[rows]), np.arange(23), batch_size=5)
    assert model.training and model[2].training
    with eval_mode(model):
        logits = model(x)
    assert loss == pytest.approx(F.cross_entropy(logits, y).item(), rel=1e-5)
    assert accuracy == pytest.approx(float((logits.argmax(1) == y).double().mean()))
