"""Figure 1's numbers against a dense Hessian and against the risk at weights moved by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

from fvm_core.experiments.newton_steps import along, mean_entry, newton_direction, risk

LENGTHS = [0.1, 0.5]


@pytest.fixture
def net() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 4), nn.Tanh(), nn.BatchNorm1d(4), nn.Linear(4, 3)).double()
    model(torch.randn(16, 3).double())
    return model.train()


def data(n: int, seed: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(n, 3, generator=generator).double(), torch.randint(3, (n,), generator=generator)


def flat(direction: dict[str, Tensor]) -> Tensor:
    return torch.cat([part.reshape(-1) for part in direction.values()])


def test_along_equals_a_dense_hessian_and_the_risk_of_moved_weights(net: nn.Module) -> None:
    (x, y), (a, b) = data(13, 1), data(1, 2)
    batches = [(x[:5], y[:5]), (x[5:], y[5:])]
    before = copy.deepcopy(net.state_dict())
    ones = {name: torch.full_like(value, 2.0) for name, value in net.named_parameters()}
    u = newton_direction(net, a, b, ones)
    path = along(net, batches, u, LENGTHS)
    assert net.training and all(torch.equal(value, before[key]) for key, value in net.state_dict().items())

    still = copy.deepcopy(net).eval()
    parameters = {name: value.detach() for name, value in still.named_parameters()}

    def loss(values: dict[str, Tensor]) -> Tensor:
        return F.cross_entropy(functional_call(still, values, (x,)), y)

    grads, blocks = torch.func.grad(loss)(parameters), hessian(loss)(parameters)
    dense = torch.cat(
        [
            torch.cat([blocks[p][q].reshape(parameters[p].numel(), parameters[q].numel()) for q in parameters], dim=1)
            for p in parameters
        ]
    )
    vector = flat(u)
    assert vector.norm() == pytest.approx(1.0)
    assert path.slope == pytest.approx(float(flat(grads) @ vector))
    assert path.curvature == pytest.approx(float(vector @ dense @ vector))
    for length, true in zip(LENGTHS, path.true, strict=True):
        moved = {name: value + length * u[name] for name, value in parameters.items()}
        assert true == pytest.approx(float(loss(moved) - loss(parameters)), abs=1e-12)
        second = length * path.slope + 0.5 * length**2 * path.curvature
        assert (path.first(length), path.second(length)) == (pytest.approx(length * path.slope), pytest.approx(second))
    assert risk(net, batches) == pytest.approx(float(loss(parameters)))


def test_the_second_order_estimate_is_exact_to_third_order(net: nn.Module) -> None:
    x, y = data(20, 3)
    u = newton_direction(net, x[:1], y[:1], {name: torch.ones_like(p) for name, p in net.named_parameters()})
    path = along(net, [(x, y)], u, [1e-2, 2e-2])
    errors = [abs(true - path.second(t)) for true, t in zip(path.true, [1e-2, 2e-2], strict=True)]
    assert errors[1] / errors[0] == pytest.approx(8, rel=0.2)


def test_newton_direction_goes_where_the_sample_fits_better(net: nn.Module) -> None:
    x, y = data(1, 4)
    inverse = {name: torch.rand_like(value) + 0.1 for name, value in net.named_parameters()}
    u = newton_direction(net, x, y, inverse)
    path = along(net, [(x, y)], u, [1e-4])
    assert path.slope < 0 and path.true[0] < 0


def test_mean_entry_counts_every_parameter_once() -> None:
    assert mean_entry({"a": torch.tensor([1.0, 2.0, 3.0]), "b": torch.tensor(6.0)}) == pytest.approx(3.0)
