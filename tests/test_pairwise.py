"""Eq. 20: its two terms against dense Hessians, and its sign and size against solving again with the sample put in."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian, jacrev
from torch.nn import functional as F

from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.pairwise import (
    _along,
    _bend_by_reverse,
    _residual,
    first_order,
    gauss_newton_directions,
    preconditioned,
    sample_gradient,
    sample_gradients,
    second_order,
)
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.models.digits_cnn import DigitsCNN


def mlp() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(4, 5), nn.Tanh(), nn.Linear(5, 3)).double()


def stacked(vectors: list[dict[str, Tensor]]) -> dict[str, Tensor]:
    return {name: torch.stack([vector[name] for vector in vectors]) for name in vectors[0]}


def flat(vector: dict[str, Tensor]) -> Tensor:
    return torch.cat([value.flatten() for value in vector.values()])


def of_flat(model: nn.Module, x: Tensor) -> tuple[Callable[[Tensor], Tensor], Tensor]:
    """Return logits (b, c) as a function of the flat parameters, and those."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    sizes = [value.numel() for value in parameters.values()]

    def logits(theta: Tensor) -> Tensor:
        parts = theta.split(sizes)
        values = {
            name: part.view_as(value) for (name, value), part in zip(parameters.items(), parts, strict=True)
        }  # fmt: skip
        return functional_call(model, values, (x,))

    return logits, flat(parameters)


def positive(model: nn.Module, seed: int = 1) -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(seed)
    return {
        name: torch.rand(value.shape, generator=generator, dtype=torch.float64) + 0.1
        for name, value in model.named_parameters()
    }


@pytest.mark.parametrize("scale", [1.0, 40.0])
def test_both_terms_are_those_of_the_dense_matrices(scale: float) -> None:
    """`scale` 40 makes the model nearly certain of z_val: the terms must keep their digits then."""
    model = mlp()
    with torch.no_grad():
        model[2].weight.mul_(scale)  # type: ignore[union-attr, operator]
    weights = positive(model)
    p = flat(weights)
    x_val, x = torch.randn(1, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    logits, theta = of_flat(model, x_val)
    for label in (int(logits(theta).argmax()), int(logits(theta).argmin())):
        target = torch.tensor([label])
        g_val = jacrev(lambda t, y=target: F.cross_entropy(logits(t), y))(theta)
        h_val = hessian(lambda t, y=target: F.cross_entropy(logits(t), y))(theta)
        direction = preconditioned(sample_gradient(model, x_val, label), weights)
        found = first_order(model, x, direction)
        for row in range(6):
            for k in range(3):
                mine, _ = of_flat(model, x[row : row + 1])
                g = jacrev(lambda t, y=k, mine=mine: F.cross_entropy(mine(t), torch.tensor([y])))(theta)
                assert found[row, k].item() == pytest.approx((g_val @ (p * g)).item(), rel=1e-6, abs=1e-30)
                move = preconditioned(sample_gradient(model, x[row : row + 1], k), weights)
                wanted = 0.5 * 0.01 * (p * g) @ h_val @ (p * g)
                second = second_order(model, x_val, label, stacked([move]), epsilon=0.01)
                assert second.item() == pytest.approx(
                    wanted.item(), rel=1e-6, abs=1e-12 * (p * g).square().sum().item()
                )


def test_gauss_newton_directions_give_the_dense_gauss_newton_matrix() -> None:
    model = mlp()
    weights = positive(model)
    p = flat(weights)
    x_val, x = torch.randn(1, 4, dtype=torch.float64), torch.randn(6, 4, dtype=torch.float64)
    logits, theta = of_flat(model, x_val)
    probabilities = torch.softmax(logits(theta)[0], 0)
    jacobian = jacrev(lambda t: logits(t)[0])(theta)
    s = torch.diag(probabilities) - torch.outer(probabilities, probabilities)
    directions = gauss_newton_directions(model, x_val, weights)
    assert 1 <= len(directions) <= 2
    total = sum(first_order(model, x, direction).square() for direction in directions)
    for row in range(6):
        for k in range(3):
            g = flat(sample_gradient(model, x[row : row + 1], k))
            moved = jacobian @ (p * g)
            assert total[row, k].item() == pytest.approx((moved @ s @ moved).item(), rel=1e-3)  # type: ignore[index]


def test_a_convolutional_net_in_fp32_matches_autograd_twice_in_fp64() -> None:
    torch.manual_seed(0)
    model = DigitsCNN(num_classes=10).eval()
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_var.uniform_(0.5, 2)  # type: ignore[union-attr, operator]
    x_val, x = torch.randn(1, 1, 8, 8), torch.randn(3, 1, 8, 8)
    exact = DigitsCNN(num_classes=10).double().eval()
    exact.load_state_dict(model.state_dict())
    for row in range(3):
        move = sample_gradient(model, x[row : row + 1], row)
        u = [value.double() for value in move.values()]
        loss = F.cross_entropy(exact(x_val.double()), torch.tensor([4]))
        grads = torch.autograd.grad(loss, list(exact.parameters()), create_graph=True)
        inner = sum((g * part).sum() for g, part in zip(grads, u, strict=True))
        rows = torch.autograd.grad(inner, list(exact.parameters()))
        wanted = 0.5 * sum((r * part).sum().item() for r, part in zip(rows, u, strict=True))
        assert second_order(model, x_val, 4, stacked([move]), epsilon=1.0).item() == pytest.approx(wanted, rel=1e-3)


def test_reverse_mode_gives_the_same_bend() -> None:
    model = mlp()
    x = torch.randn(1, 4, dtype=torch.float64)
    unit = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    logits, (slope,), (bend,) = _along(model, x, 1, stacked([unit]))
    assert bend.item() == pytest.approx(_bend_by_reverse(model, x, _residual(logits[None], 1), unit).item(), rel=1e-9)
    step = 1e-4
    f, theta = of_flat(model, x)
    before, now, after = (f(theta + t * flat(unit))[0] for t in (-step, 0.0, step))
    torch.testing.assert_close(slope, (after - before) / (2 * step), rtol=1e-5, atol=1e-6)
    pull = _residual(now[None], 1)[0]
    assert bend.item() == pytest.approx((pull @ (after - 2 * now + before)).item() / step**2, rel=1e-3)
    linear = nn.Linear(4, 3).double()
    still = {name: torch.ones_like(value) for name, value in linear.named_parameters()}
    assert _bend_by_reverse(linear, x, pull[None], still).item() == 0.0
    still = {name: torch.zeros_like(value) for name, value in unit.items()}
    assert second_order(model, x, 1, stacked([still, still]), epsilon=1.0).tolist() == [0.0, 0.0]


class _NoForward(torch.autograd.Function):
    """The square of its input, without a forward-mode rule, differentiable twice in reverse."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        ctx.save_for_backward(x)
        return x * x

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        return 2 * ctx.saved_tensors[0] * grad


class Squares(nn.Module):
    def __init__(self, own: bool) -> None:
        super().__init__()
        self.inner, self.head, self.own = nn.Linear(4, 5), nn.Linear(5, 3), own

    def forward(self, x: Tensor) -> Tensor:
        inner = self.inner(x)
        return self.head(_NoForward.apply(inner) if self.own else inner * inner)


def test_an_operation_without_forward_mode_is_done_in_reverse() -> None:
    torch.manual_seed(0)
    model, same = Squares(True).double(), Squares(False).double()
    same.load_state_dict(model.state_dict())
    x = torch.randn(1, 4, dtype=torch.float64)
    moves = {name: torch.randn(3, *value.shape, dtype=torch.float64) for name, value in model.named_parameters()}
    found, wanted = (second_order(net, x, 2, moves, epsilon=1.0) for net in (model, same))
    torch.testing.assert_close(found, wanted, rtol=1e-9, atol=0.0)


def test_gradients_of_a_batch_are_those_of_each_sample() -> None:
    torch.manual_seed(0)
    model = DigitsCNN(num_classes=10).eval()
    x, y = torch.randn(5, 1, 8, 8), torch.randint(10, (5,))
    found = sample_gradients(SquaredGradients(model, x), x, y)
    for row in range(5):
        loss = F.cross_entropy(model(x[row : row + 1]), y[row : row + 1])
        wanted = torch.autograd.grad(loss, list(model.parameters()))
        alone = sample_gradient(model, x[row : row + 1], int(y[row]))
        for (name, value), mine in zip(found.items(), wanted, strict=True):
            torch.testing.assert_close(value[row], mine, rtol=1e-4, atol=1e-6)
            torch.testing.assert_close(alone[name], mine, rtol=1e-4, atol=1e-6)


class OneLogit(nn.Module):
    """Two classes with logits (0, w . x): a convex model whose Hessian is nearly diagonal for independent inputs."""

    def __init__(self, inputs: int) -> None:
        super().__init__()
        self.linear = nn.Linear(inputs, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        out = self.linear(x)
        return torch.cat([torch.zeros_like(out), out], dim=1)


L2 = 1e-3


def solve(x: Tensor, y: Tensor, x_tr: Tensor, y_tr: Tensor, *, weight: float) -> OneLogit:
    """Minimise the mean loss over (x, y) + L2/2 ||w||^2 + weight * loss of (x_tr, y_tr) to machine precision (Eq. 17
    without the radius)."""
    model = OneLogit(x.shape[1]).double()
    nn.init.zeros_(model.linear.weight)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=80, tolerance_grad=1e-12, tolerance_change=1e-16, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y) + weight * F.cross_entropy(model(x_tr), y_tr)
        loss = loss + L2 / 2 * model.linear.weight.square().sum()
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def test_sign_and_size_against_solving_again_with_the_sample_put_in_or_taken_out() -> None:
    torch.manual_seed(0)
    truth = 0.3 * torch.randn(6, dtype=torch.float64)  # uncertain labels: p (1 - p) hardly depends on x
    x = torch.randn(2000, 6, dtype=torch.float64)
    y = (torch.rand(2000, dtype=torch.float64) < torch.sigmoid(x @ truth)).long()
    x_tr = torch.randn(30, 6, dtype=torch.float64)
    y_tr = torch.randint(2, (30,))
    epsilon = 0.01
    model = solve(x, y, x_tr[:1], y_tr[:1], weight=0.0)
    weights = inverse_fisher(fisher_diagonal(model, [(x, y)]), damping=L2, dtype=torch.float64)
    put_in = [solve(x, y, x_tr[n : n + 1], y_tr[n : n + 1], weight=epsilon) for n in range(30)]
    taken_out = [solve(x, y, x_tr[n : n + 1], y_tr[n : n + 1], weight=-epsilon) for n in range(30)]
    for place in (0, 7, 19):
        x_val, label = x[place : place + 1], int(y[place])

        def loss(at: OneLogit, x_val: Tensor = x_val, label: int = label) -> float:
            with torch.no_grad():
                return F.cross_entropy(at(x_val), torch.tensor([label])).item()

        direction = preconditioned(sample_gradient(model, x_val, label), weights)
        first = first_order(model, x_tr, direction).gather(1, y_tr[:, None])[:, 0].numpy()
        moves = [preconditioned(sample_gradient(model, x_tr[n : n + 1], int(y_tr[n])), weights) for n in range(30)]
        second = second_order(model, x_val, label, stacked(moves), epsilon=epsilon).numpy()
        assert (second >= 0).all(), "the loss is convex"
        without = np.array([loss(at) for at in taken_out]) - loss(model)
        added = np.array([loss(at) for at in put_in]) - loss(model)
        for real, predicted in ((without, epsilon * (first + second)), (added, -epsilon * (first - second))):
            assert np.corrcoef(predicted, real)[0, 1] > 0.97
            assert 0.7 < np.polyfit(predicted, real, 1)[0] < 1.4
            clear = np.abs(real) > 0.2 * np.abs(real).max()
            assert clear.sum() > 10 and (np.sign(predicted) == np.sign(real))[clear].all()
