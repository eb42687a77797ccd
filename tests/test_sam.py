"""SAM steps by hand and against closed forms."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.tuning.sam import ascend, gradient_norm, restored, sam_step


class Point(nn.Module):
    def __init__(self, *values: list[float]) -> None:
        super().__init__()
        self.w = nn.ParameterList([nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in values])


def flat(module: nn.Module) -> torch.Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


def test_sam_step_on_a_quadratic_by_hand() -> None:
    a = torch.tensor([[3.0, 1.0, 0.0], [1.0, 2.0, 0.5], [0.0, 0.5, 1.0]], dtype=torch.float64)
    b = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)
    point = Point([0.3, -0.7], [1.1])
    w, momentum = flat(point), torch.zeros(3, dtype=torch.float64)
    optimizer = torch.optim.SGD(point.parameters(), lr=0.1, momentum=0.9, weight_decay=0.05)

    def loss() -> torch.Tensor:
        x = torch.cat(list(point.w))
        return 0.5 * x @ a @ x - b @ x

    for _ in range(5):
        value = sam_step(point, optimizer, loss, rho=0.2)
        assert float(value) == pytest.approx(float(0.5 * w @ a @ w - b @ w), rel=1e-12)
        g = a @ w - b
        at_neighbour = a @ (w + 0.2 * g / (g.norm() + 1e-12)) - b
        momentum = 0.9 * momentum + at_neighbour + 0.05 * w
        w = w - 0.1 * momentum
        torch.testing.assert_close(flat(point), w, rtol=1e-12, atol=1e-14)


def test_sam_gradient_on_logistic_regression_equals_the_closed_form() -> None:
    torch.manual_seed(0)
    x, y = torch.randn(32, 5, dtype=torch.float64), torch.randint(0, 3, (32,))
    model = nn.Linear(5, 3).double()
    weight, bias = model.weight.detach().clone(), model.bias.detach().clone()

    def closed_gradient(weight: torch.Tensor, bias: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        error = (torch.softmax(x @ weight.T + bias, 1) - F.one_hot(y, 3)) / 32
        return error.T @ x, error.sum(0)

    gw, gb = closed_gradient(weight, bias)
    norm = torch.sqrt(gw.square().sum() + gb.square().sum())
    gw2, gb2 = closed_gradient(weight + 0.05 * gw / norm, bias + 0.05 * gb / norm)
    optimizer = torch.optim.SGD(model.parameters(), lr=1.0)
    sam_step(model, optimizer, lambda: F.cross_entropy(model(x), y), rho=0.05)
    torch.testing.assert_close(model.weight.detach(), weight - gw2, rtol=1e-10, atol=1e-12)
    torch.testing.assert_close(model.bias.detach(), bias - gb2, rtol=1e-10, atol=1e-12)


def bn_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))


def test_batchnorm_sees_the_first_pass_only() -> None:
    model, single = bn_net(), bn_net()
    x, y = torch.randn(8, 2, 5, 5), torch.randint(0, 3, (8,))
    single(x)
    sam_step(model, torch.optim.SGD(model.parameters(), lr=0.1), lambda: F.cross_entropy(model(x), y), rho=5.0)
    for name, buffer in model.named_buffers():
        assert torch.equal(buffer, single.get_buffer(name)), name
    assert int(model[1].num_batches_tracked) == 1


def test_weights_come_back_bit_for_bit_from_a_huge_perturbation() -> None:
    model = bn_net()
    x, y = torch.randn(8, 2, 5, 5), torch.randint(0, 3, (8,))
    before = [parameter.detach().clone() for parameter in model.parameters()]
    sam_step(model, torch.optim.SGD(model.parameters(), lr=0.0), lambda: F.cross_entropy(model(x), y), rho=1e6)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_weights_come_back_when_the_second_pass_fails() -> None:
    model, calls = bn_net(), []
    x, y = torch.randn(8, 2, 5, 5), torch.randint(0, 3, (8,))
    before = [parameter.detach().clone() for parameter in model.parameters()]

    def loss() -> torch.Tensor:
        calls.append(1)
        if len(calls) == 2:
            raise RuntimeError("out of memory")
        return F.cross_entropy(model(x), y)

    with pytest.raises(RuntimeError, match="out of memory"):
        sam_step(model, torch.optim.SGD(model.parameters(), lr=0.1), loss, rho=0.5)
    assert all(torch.equal(a, b) for a, b in zip(before, model.parameters(), strict=True))


def test_rho_zero_is_plain_sgd() -> None:
    model, plain = bn_net(), bn_net()
    x, y = torch.randn(8, 2, 5, 5), torch.randint(0, 3, (8,))
    options = {"lr": 0.1, "momentum": 0.9, "weight_decay": 1e-2}
    optimizer, reference = (torch.optim.SGD(m.parameters(), **options) for m in (model, plain))
    for _ in range(3):
        sam_step(model, optimizer, lambda: F.cross_entropy(model(x), y), rho=0.0)
        reference.zero_grad()
        F.cross_entropy(plain(x), y).backward()
        reference.step()
    for key, value in model.state_dict().items():
        assert torch.equal(value, plain.state_dict()[key]), key


def test_weight_decay_has_no_part_in_the_perturbation() -> None:
    x, y = torch.randn(8, 2, 5, 5), torch.randint(0, 3, (8,))
    seen: list[torch.Tensor] = []
    for decay in (0.0, 10.0):
        model = bn_net()
        passes: list[torch.Tensor] = []

        def loss(model: nn.Module = model, passes: list[torch.Tensor] = passes) -> torch.Tensor:
            passes.append(flat(model))
            return F.cross_entropy(model(x), y)

        sam_step(model, torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=decay), loss, rho=0.1)
        assert float((passes[1] - passes[0]).norm()) == pytest.approx(0.1, rel=1e-4)
        seen.append(passes[1])
    assert torch.equal(seen[0], seen[1])


def test_a_zero_gradient_moves_nothing() -> None:
    parameter = nn.Parameter(torch.ones(3))
    parameter.grad = torch.zeros(3)
    ascend([parameter], rho=0.5)
    assert torch.equal(parameter.detach(), torch.ones(3))


def test_gradient_norm_is_over_all_parameters_together() -> None:
    one, two, three = nn.Parameter(torch.zeros(1)), nn.Parameter(torch.zeros(2)), nn.Parameter(torch.zeros(1))
    one.grad, two.grad = torch.tensor([3.0]), torch.tensor([0.0, 4.0])
    assert float(gradient_norm([one, two, three])) == 5.0
    assert float(gradient_norm([three])) == 0.0


def test_restored_undoes_additions_that_rounding_would_not() -> None:
    tensor = torch.tensor([1e-8, 0.1])
    with restored([tensor]):
        tensor += 1e8
    assert torch.equal(tensor, torch.tensor([1e-8, 0.1]))


def test_negative_rho_is_refused() -> None:
    model = nn.Linear(1, 1)
    with pytest.raises(SettingsError, match=r"`rho` must be >= 0, got -0.1"):
        sam_step(model, torch.optim.SGD(model.parameters(), lr=0.1), lambda: model(torch.ones(1)).sum(), rho=-0.1)
