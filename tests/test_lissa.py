"""LiSSA against the dense inverse Hessian of softmax regression."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.influence.lissa import hessian_product, lissa


def softmax_regression() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    x, y = torch.randn(60, 4, dtype=torch.float64), torch.randint(0, 3, (60,))
    return nn.Linear(4, 3).double(), x, y


def dense_hessian(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """(p, p) by torch.func.hessian."""
    values = dict(model.named_parameters())

    def loss(flat: Tensor) -> Tensor:
        weight, bias = flat[:12].view(3, 4), flat[12:]
        return F.cross_entropy(F.linear(x, weight, bias), y)

    return torch.func.hessian(loss)(torch.cat([values["weight"].detach().flatten(), values["bias"].detach()]))


def flat(v: list[Tensor]) -> Tensor:
    return torch.cat([part.flatten() for part in v])


@pytest.mark.parametrize(("scale", "damping"), [(2.0, 0.05), (5.0, 0.03)])
def test_limit_is_the_damped_inverse(scale: float, damping: float) -> None:
    model, x, y = softmax_regression()
    product = hessian_product(model, lambda step: (x, y), list(model.parameters()))
    v = [torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)]
    found = lissa(product, v, depth=700, scale=scale, damping=damping)
    hessian = dense_hessian(model, x, y) + damping * scale * torch.eye(15, dtype=torch.float64)
    torch.testing.assert_close(flat(found.value), torch.linalg.solve(hessian, flat(v)), rtol=1e-6, atol=1e-9)
    assert found.change < 1e-8


def test_product_is_the_hessian() -> None:
    model, x, y = softmax_regression()
    product = hessian_product(model, lambda step: (x, y), list(model.parameters()))
    r = [torch.randn(3, 4, dtype=torch.float64), torch.randn(3, dtype=torch.float64)]
    torch.testing.assert_close(flat(product(r, 0)), dense_hessian(model, x, y) @ flat(r))


def test_first_steps_by_hand_and_repeats_use_their_own_batches() -> None:
    asked: list[int] = []

    def product(r: list[Tensor], step: int) -> list[Tensor]:
        asked.append(step)
        return [2 * part for part in r]

    found = lissa(product, [torch.tensor([1.0])], depth=2, scale=4.0, damping=0.1, repeats=3)
    one = 1 + 0.9 * 1 - 2 / 4
    two = 1 + 0.9 * one - 2 * one / 4
    assert found.value[0].item() == pytest.approx(two / 4)
    assert found.change == pytest.approx(abs(two - one) / two)
    assert asked == [0, 1, 2, 3, 4, 5]


@pytest.mark.parametrize("factor", [100.0, math.nan, -1.0])
def test_growth_names_the_scale(factor: float) -> None:
    with pytest.raises(SettingsError, match="`lissa_scale` must be large enough for the recursion to shrink, got 10"):
        lissa(lambda r, step: [factor * 10 * part for part in r], [torch.ones(3)], depth=200, scale=10.0, damping=0.0)
