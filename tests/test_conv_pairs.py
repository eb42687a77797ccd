"""Squared gradients of many labels from pairs of positions, against gradients that are built in float64."""

from __future__ import annotations

import pytest
import torch

from fvm_core.influence.conv_pairs import pays, weighted_by_pairs
from fvm_core.influence.layers_conv import ConvRule
from fvm_core.influence.scratch import Scratch


@pytest.mark.parametrize(
    ("b", "m", "t", "inner", "filters"), [(3, 5, 4, 18, 7), (2, 1, 1, 6, 3), (1, 20, 16, 9, 1), (4, 3, 9, 1, 5)]
)
def test_pairs_equal_built_gradients(b: int, m: int, t: int, inner: int, filters: int) -> None:
    torch.manual_seed(0)
    columns, pulls, weight = torch.randn(b, t, inner), torch.randn(b, m, filters, t), torch.rand(filters, inner)
    grads = torch.einsum("bmot,bti->bmoi", pulls.double(), columns.double())
    expected = (grads.square() * weight.double()).sum((2, 3))
    scratch = Scratch()
    for name in ("metric", "half", "pairs"):
        scratch.room(name, (10**5,), pulls).fill_(torch.nan)  # what the memory held before must not matter
    found = weighted_by_pairs(columns, pulls, weight, scratch)
    torch.testing.assert_close(found.double(), expected, rtol=1e-5, atol=0)


def test_gradients_that_cancel_are_not_below_zero() -> None:
    columns = torch.full((1, 4, 3), 100.0)
    pulls = torch.tensor([1.0, -1.0, 0.3, -0.3]).view(1, 1, 1, 4)
    found = weighted_by_pairs(columns, pulls, torch.ones(1, 3), Scratch())
    assert 0 <= found.item() < 1e-2


def test_the_rule_takes_pairs_for_many_labels_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """With 40 labels at 4 x 4 positions the numbers are those of one label at a time, which builds gradients."""
    torch.manual_seed(0)
    conv, a = torch.nn.Conv2d(16, 24, 3, padding=1), torch.randn(5, 16, 4, 4)
    many = [[(a, torch.randn(5, 24, 4, 4))] for _ in range(40)]
    weights = {name: torch.rand_like(value).detach() for name, value in conv.named_parameters()}
    assert pays(40, 16, 144, 24) and not pays(1, 16, 144, 24)
    rule = ConvRule()
    alone = [rule.weighted(conv, calls, weights, 2**20) for calls in many]
    for budget in (1, 2**16, 2**23):
        together = rule.weighted_many(conv, many, weights, budget)
        for one, other in zip(alone, together, strict=True):
            for name in weights:
                torch.testing.assert_close(other[name], one[name], rtol=1e-5, atol=0)
    monkeypatch.setattr(
        "fvm_core.influence.layers_conv.weighted_by_pairs", lambda *parts: torch.zeros(len(parts[1]), 40)
    )
    assert rule.weighted_many(conv, many, weights, 2**23)[0]["weight"].abs().max() == 0, "pairs were not taken"
