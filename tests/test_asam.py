"""ASAM steps by hand, and what they are made for: layers that are rescaled look the same."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from solver_cases import LR, Point, Seen, flat, quadratic, sgd, solver
from torch import nn
from torch.nn import functional as F

from fvm_core.tuning.asam import ascend_adaptively, weight_ids
from fvm_core.tuning.sam import Sam


def test_step_on_a_quadratic_in_numbers() -> None:
    """g = (1.5, -4), T = (2, 1): T g = (3, -4) is 5 long, e = 0.5 (6, -4) / 5, and the gradient there (1.95, -5.6)."""
    point = Point(weight=[2.0, -1.0])
    loss = quadratic(point, torch.diag(torch.tensor([0.75, 4.0], dtype=torch.float64)))
    value = solver("asam", rho=0.5, asam_eta=0.0).step(point, sgd(point), loss, k=0)
    assert float(value) == pytest.approx(0.5 * (0.75 * 4 + 4 * 1))
    torch.testing.assert_close(loss.weights[1], torch.tensor([2.6, -1.4], dtype=torch.float64))
    torch.testing.assert_close(flat(point), torch.tensor([1.805, -0.44], dtype=torch.float64))


def test_steps_with_eta_a_bias_and_momentum_equal_the_formula() -> None:
    a = torch.tensor([[3.0, 1.0, 0.2], [1.0, 2.0, 0.5], [0.2, 0.5, 1.0]], dtype=torch.float64)
    point, w = Point(weight=[0.3, -0.7], bias=[1.1]), torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    optimizer, here, velocity = sgd(point, momentum=0.9, weight_decay=0.05), solver("asam", rho=0.2, asam_eta=0.03), 0.0
    loss = quadratic(point, a)
    for k in range(4):
        here.step(point, optimizer, loss, k=k)
        g, t = a @ w, torch.cat([w[:2].abs() + 0.03, torch.ones(1)])
        e = 0.2 * t**2 * g / (t * g).norm()
        assert float((e / t).norm()) == pytest.approx(0.2)
        velocity = 0.9 * velocity + a @ (w + e) + 0.05 * w
        w = w - LR * velocity
        torch.testing.assert_close(flat(point), w, rtol=1e-12, atol=1e-14)


def test_with_t_of_one_it_is_sam() -> None:
    """Weights of size 1 - eta, and a bias, whose T is 1 whatever its size."""
    a = torch.tensor([[3.0, 1.0, 0.2], [1.0, 2.0, 0.5], [0.2, 0.5, 1.0]], dtype=torch.float64)
    ends = []
    for here in (solver("asam", rho=0.3, asam_eta=0.01), Sam(rho=0.3)):
        point = Point(weight=[0.99, -0.99], bias=[7.0])
        here.step(point, sgd(point), quadratic(point, a), k=0)
        ends.append(flat(point))
    torch.testing.assert_close(ends[0], ends[1], rtol=1e-11, atol=1e-13)


def rescaled(factor: float, name: str, **settings: Any) -> tuple[float, float]:
    """Return the loss at w and at w + e of a two-layer network whose first layer is multiplied, its second divided."""
    torch.manual_seed(0)
    x, y = torch.randn(32, 5, dtype=torch.float64), torch.randint(0, 3, (32,))
    model = nn.Sequential(nn.Linear(5, 7, bias=False), nn.ReLU(), nn.Linear(7, 3, bias=False)).double()
    with torch.no_grad():
        model[0].weight *= factor
        model[2].weight /= factor
    losses: list[float] = []

    def loss(rows: slice) -> torch.Tensor:
        value = F.cross_entropy(model(x), y)
        losses.append(value.item())
        return value

    solver(name, **settings).step(model, sgd(model), Seen(model, loss), k=0)
    return losses[0], losses[1]


def test_rescaling_layers_changes_nothing_for_asam_and_much_for_sam() -> None:
    at_w, climbed = rescaled(1.0, "asam", rho=0.5, asam_eta=0.0)
    assert climbed > at_w + 0.01
    assert rescaled(16.0, "asam", rho=0.5, asam_eta=0.0) == pytest.approx((at_w, climbed), rel=1e-12)
    plain, other = rescaled(1.0, "sam", rho=0.05), rescaled(16.0, "sam", rho=0.05)
    assert other[0] == pytest.approx(plain[0], rel=1e-12)
    assert abs(other[1] - plain[1]) > 0.1 * (plain[1] - plain[0])


def test_weights_of_all_layers_are_scaled_and_biases_are_not() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Flatten(), nn.Linear(2, 2))
    model.register_parameter("position", nn.Parameter(torch.zeros(2)))
    attention = nn.MultiheadAttention(4, 2)
    chosen = weight_ids(model) | weight_ids(attention)
    named = {**dict(model.named_parameters()), **dict(attention.named_parameters())}
    assert {name for name, parameter in named.items() if id(parameter) in chosen} == {
        "0.weight", "1.weight", "3.weight", "in_proj_weight", "out_proj.weight",
    }  # fmt: skip


def test_a_zero_gradient_moves_nothing_and_a_missing_one_is_no_error() -> None:
    moved, still = nn.Parameter(torch.ones(3)), nn.Parameter(torch.ones(2))
    moved.grad = torch.zeros(3)
    ascend_adaptively([moved, still], {id(moved)}, rho=0.5, eta=0.01)
    assert torch.equal(moved.detach(), torch.ones(3)) and torch.equal(still.detach(), torch.ones(2))
