"""LPF steps by hand: the gradient at the noisy weights, and what the noise is."""

from __future__ import annotations

import random

import numpy as np
import pytest
import torch
from solver_cases import LR, Point, Seen, bn_net, cross_entropy, flat, quadratic, sgd, solver
from torch import nn

from fvm_core.errors import SettingsError
from fvm_core.tuning.lpf import Lpf, add_noise, shares

A = torch.tensor([[3.0, 1.0, 0.2], [1.0, 2.0, 0.5], [0.2, 0.5, 1.0]], dtype=torch.float64)


def lpf(gamma: float = 0.1, *, seed: int = 0, steps: int = 10, **more: float) -> Lpf:
    return Lpf(gamma=gamma, seed=seed, steps=steps, **more)  # type: ignore[arg-type]


def noise_of(here: Lpf, k: int) -> torch.Tensor:
    """Return the noise of step k on one point."""
    point = Point(weight=[[0.3, -0.7]], bias=[1.1])
    loss = quadratic(point, A)
    before = flat(point)
    here.step(point, sgd(point), loss, k=k)
    return loss.weights[0] - before


@pytest.mark.parametrize(("draws", "parts"), [(1, [1.0]), (2, [0.5, 0.5]), (3, [2 / 7, 2 / 7, 3 / 7])])
def test_step_on_a_quadratic_is_the_mean_gradient_at_the_noisy_weights(draws: int, parts: list[float]) -> None:
    """Each draw counts as much as its share of the batch: 2, 2 and 3 of 7 rows for three draws."""
    size = 7 if draws == 3 else 8
    point, w = Point(weight=[[0.3, -0.7]], bias=[1.1]), torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    optimizer, loss, velocity = sgd(point, momentum=0.9, weight_decay=0.05), quadratic(point, A, size=size), 0.0
    for k in range(3):
        value = lpf(draws=draws).step(point, optimizer, loss, k=k)
        seen = loss.weights[-draws:]
        assert all(not torch.equal(one, w) for one in seen) and len({tuple(one.tolist()) for one in seen}) == draws
        assert float(value) == pytest.approx(sum(p * float(s @ A @ s) / 2 for p, s in zip(parts, seen, strict=True)))
        velocity = 0.9 * velocity + sum(p * (A @ s) for p, s in zip(parts, seen, strict=True)) + 0.05 * w
        w = w - LR * velocity
        torch.testing.assert_close(flat(point), w, rtol=1e-12, atol=1e-14)


def test_without_noise_uneven_shares_give_the_gradient_of_the_whole_batch() -> None:
    rows = torch.randn(7, 3, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    point = Point(weight=[0.3, -0.7, 1.1])
    before = flat(point)
    loss = Seen(point, lambda part: (rows[part] @ point.weight).mean(), size=7)
    value = lpf(0.0, draws=3).step(point, sgd(point), loss, k=0)
    torch.testing.assert_close(flat(point), before - LR * rows.mean(0))
    assert float(value) == pytest.approx(float((rows @ before).mean()))
    assert loss.rows == [slice(0, 2), slice(2, 4), slice(4, 7)]


@pytest.mark.parametrize("draws", [1, 2, 5, 9, 10])
def test_shares_hold_every_row_once_and_are_even(draws: int) -> None:
    parts = shares(10, draws)
    assert np.concatenate([np.arange(10)[part] for part in parts]).tolist() == list(range(10))
    sizes = [part.stop - part.start for part in parts]
    assert len(parts) == draws and max(sizes) - min(sizes) <= 1


def test_noise_has_the_size_of_its_filter() -> None:
    """50,000 entries a filter: the standard deviation is known to 0.3 %, the mean to 0.5 % of it."""
    torch.manual_seed(0)
    weight, bias = nn.Parameter(torch.randn(2, 500, 10, 10)), nn.Parameter(torch.randn(50_000))
    with torch.no_grad():
        weight[1] *= 100
    frozen = nn.Parameter(torch.ones(3), requires_grad=False)
    before = [parameter.detach().clone() for parameter in (weight, bias)]
    add_noise([weight, bias, frozen], gamma=0.02, generator=torch.Generator().manual_seed(5))
    noise = [weight.detach()[0] - before[0][0], weight.detach()[1] - before[0][1], bias.detach() - before[1]]
    for part, filter_ in zip(noise, (before[0][0], before[0][1], before[1]), strict=True):
        scale = 0.02 * float(filter_.norm())
        standard = part / scale
        assert float(standard.std()) == pytest.approx(1.0, abs=0.015)
        assert abs(float(standard.mean())) < 0.025
        assert float((standard.abs() < 1).double().mean()) == pytest.approx(0.6827, abs=0.011)
    assert torch.equal(frozen, torch.ones(3))


def test_noise_depends_on_seed_and_step_alone() -> None:
    first = {k: noise_of(lpf(), k) for k in range(4)}
    torch.manual_seed(99)
    random.seed(99)
    state = torch.get_rng_state()
    here = lpf()
    again = {k: noise_of(here, k) for k in (3, 1, 0, 2)}
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(first[k], again[k]) for k in range(4))
    assert all(not torch.equal(first[k], first[k + 1]) for k in range(3))
    assert not torch.equal(first[0], noise_of(lpf(seed=1), 0))


def test_noise_is_in_proportion_to_gamma() -> None:
    torch.testing.assert_close(noise_of(lpf(0.2), 3), 2 * noise_of(lpf(0.1), 3))


def test_gamma_grows_along_a_cosine() -> None:
    here = lpf(0.1, growth=5.0)
    assert [here.gamma_at(k) for k in (0, 5, 10, 99)] == pytest.approx([0.1, 0.3, 0.5, 0.5])
    assert [lpf(0.1).gamma_at(k) for k in (0, 5, 10)] == [0.1] * 3
    torch.testing.assert_close(noise_of(here, 10), 5 * noise_of(lpf(0.1), 10))


def test_more_draws_than_samples_are_refused() -> None:
    model = bn_net()
    with pytest.raises(SettingsError, match="`draws` must be <= the 8 samples of the batch, got 9"):
        solver("lpf", lpf_draws=9).step(model, sgd(model), cross_entropy(model), k=0)
