"""s from random vectors: exact with unit vectors, and within its standard error with many draws."""

from __future__ import annotations

import pytest
import torch
from small_nets import label_gradients, small_data, small_net
from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.influence.random_vectors import random_vector, random_vector_scores


def spread(model: torch.nn.Module, flat: Tensor) -> dict[str, Tensor]:
    """Return a vector (p,) as {parameter: its part}."""
    out, start = {}, 0
    for name, value in model.named_parameters():
        out[name] = flat[start : start + value.numel()].view_as(value)
        start += value.numel()
    return out


def problem() -> tuple[torch.nn.Module, Tensor, Tensor, Tensor]:
    """Return a model, inputs, all labels' gradients (b, c, p) and a dense symmetric inverse Hessian (p, p)."""
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(98, 3)).double()
    x, _ = small_data(4)
    rows = [label_gradients(model, x, torch.full((4,), label)) for label in range(3)]
    gradients = torch.stack([torch.cat([g.flatten(1) for g in row.values()], 1) for row in rows], dim=1)
    half = torch.randn(gradients.shape[2], 20, dtype=torch.float64)
    return model, x, gradients, half @ half.t() / 20 + 0.5 * torch.eye(len(half), dtype=torch.float64)


def test_unit_vectors_give_the_quadratic_form_exactly() -> None:
    """The sum over all unit vectors e of (g . H^-1 e)(e . g) is g^T H^-1 g: the mean is that over p."""
    model, x, gradients, inverse = problem()
    p = len(inverse)
    pairs = [(spread(model, e), spread(model, inverse @ e)) for e in torch.eye(p, dtype=torch.float64)]
    exact = torch.einsum("bkp,pq,bkq->bk", gradients, inverse, gradients)
    torch.testing.assert_close(p * random_vector_scores(model, x, pairs), exact, rtol=1e-9, atol=1e-9)


def test_gaussian_vectors_are_unbiased_and_have_the_promised_variance() -> None:
    model, x, gradients, inverse = problem()
    exact = torch.einsum("bkp,pq,bkq->bk", gradients, inverse, gradients)
    draws = 1500
    single = []
    for draw in range(draws):
        v = random_vector(model, seed=2, draw=draw)
        flat = torch.cat([part.flatten() for part in v.values()])
        single.append(random_vector_scores(model, x, [(v, spread(model, inverse @ flat))]))
    estimates = torch.stack(single)
    lengths = gradients.square().sum(2) * (gradients @ inverse).square().sum(2)
    error = ((lengths + exact.square()) / draws).sqrt()
    assert ((estimates.mean(0) - exact).abs() < 4.5 * error).all()
    torch.testing.assert_close(estimates.var(0), lengths + exact.square(), rtol=0.35, atol=0)
    assert (estimates < 0).any(), "a single estimate may be negative"


def test_the_mean_over_pairs_is_taken() -> None:
    model, x, _, inverse = problem()
    pairs = []
    for draw in range(3):
        v = random_vector(model, seed=0, draw=draw)
        pairs.append((v, spread(model, inverse @ torch.cat([part.flatten() for part in v.values()]))))
    each = torch.stack([random_vector_scores(model, x, [pair]) for pair in pairs])
    torch.testing.assert_close(random_vector_scores(model, x, pairs), each.mean(0))


def test_vectors_are_standard_normal_and_depend_on_seed_and_draw_alone() -> None:
    model = small_net().float()
    one = random_vector(model, seed=1, draw=2)
    assert all(torch.equal(value, random_vector(model, seed=1, draw=2)[name]) for name, value in one.items())
    assert {name: value.shape for name, value in one.items()} == {n: p.shape for n, p in model.named_parameters()}
    for seed, draw in ((1, 3), (2, 2), (2**62, 2)):
        assert not torch.equal(one["head.weight"], random_vector(model, seed=seed, draw=draw)["head.weight"])
    many = torch.cat(
        [part.flatten() for draw in range(60) for part in random_vector(model, seed=0, draw=draw).values()]
    )
    n = len(many)
    assert abs(many.mean()) < 4.5 / n**0.5 and abs(many.var() - 1) < 4.5 * (2 / n) ** 0.5


def test_no_pair_is_named() -> None:
    model, x, _, _ = problem()
    with pytest.raises(SettingsError, match="`random_vectors` must be >= 1, got 0"):
        random_vector_scores(model, x, [])
