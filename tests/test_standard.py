"""The standard influence (Eq. 6): against autograd, and against real leave-one-out retraining."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import DataError
from fvm_core.influence.lissa import hessian_product, lissa
from fvm_core.influence.standard import _by_reverse, logit_derivative, standard_scores, validation_gradient
from fvm_core.models.resnet import CifarResNet

L2 = 0.05


def fit(x: Tensor, y: Tensor, n: int) -> nn.Linear:
    """Minimise 1/n sum of cross-entropy + L2/2 ||w||^2 to machine precision; `n` stays that of the full set."""
    model = nn.Linear(x.shape[1], 3).double()
    nn.init.zeros_(model.weight)
    nn.init.zeros_(model.bias)
    optimizer = torch.optim.LBFGS(
        model.parameters(), max_iter=60, tolerance_grad=1e-10, tolerance_change=1e-15, line_search_fn="strong_wolfe"
    )

    def closure() -> Tensor:
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y, reduction="sum") / n
        loss = loss + L2 / 2 * sum(p.square().sum() for p in model.parameters())
        loss.backward()
        return loss

    optimizer.step(closure)
    return model


def problem() -> tuple[Tensor, Tensor, Tensor, Tensor]:
    torch.manual_seed(0)
    centres = torch.randn(3, 4, dtype=torch.float64)
    y = torch.randint(0, 3, (50,))
    x = centres[y] + 0.8 * torch.randn(50, 4, dtype=torch.float64)
    y[:6] = (y[:6] + 1) % 3
    v = torch.randint(0, 3, (40,))
    return x, y, centres[v] + 0.8 * torch.randn(40, 4, dtype=torch.float64), v


def test_score_over_n_is_the_loss_change_of_leaving_out() -> None:
    """Sign and size against retraining without each of 50 samples; H holds the L2 term by way of LiSSA's damping."""
    x, y, x_val, y_val = problem()
    n = len(x)
    model = fit(x, y, n)
    gradient = validation_gradient(model, [(x_val, y_val)])
    scale = 2.0
    product = hessian_product(model, lambda step: (x, y), list(model.parameters()))
    found = lissa(product, list(gradient.values()), depth=600, scale=scale, damping=L2 / scale)
    scores, _ = standard_scores(model, x, dict(zip(gradient, found.value, strict=True)))
    predicted = scores.gather(1, y[:, None])[:, 0].numpy() / n

    def validation_loss(fitted: nn.Linear) -> float:
        with torch.no_grad():
            return F.cross_entropy(fitted(x_val), y_val).item()

    before = validation_loss(model)
    keep = [[i for i in range(n) if i != out] for out in range(n)]
    real = np.array([validation_loss(fit(x[rows], y[rows], n)) - before for rows in keep])
    assert np.corrcoef(predicted, real)[0, 1] > 0.98
    assert 0.7 < np.polyfit(predicted, real, 1)[0] < 1.5
    assert predicted[:6].mean() < predicted[6:].mean(), "wrong labels must score low"


def test_all_labels_equal_the_gradient_products() -> None:
    torch.manual_seed(0)
    model = CifarResNet((1, 1), num_classes=4, width=4).eval()
    x = torch.randn(5, 3, 8, 8)
    direction = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    scores, logits = standard_scores(model, x, direction)
    torch.testing.assert_close(logits, model(x).detach())
    for row in range(5):
        for label in range(4):
            loss = F.cross_entropy(model(x[row : row + 1]), torch.tensor([label]))
            grads = torch.autograd.grad(loss, list(model.parameters()))
            expected = sum((g * d).sum().item() for g, d in zip(grads, direction.values(), strict=True))
            assert scores[row, label].item() == pytest.approx(expected, rel=1e-3, abs=1e-3)


def test_reverse_mode_gives_the_same_derivative() -> None:
    torch.manual_seed(0)
    model = CifarResNet((1,), num_classes=4, width=4).eval()
    x = torch.randn(3, 3, 8, 8)
    direction = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    forward, reverse = logit_derivative(model, x, direction), _by_reverse(model, x, direction)
    torch.testing.assert_close(forward, reverse, rtol=1e-4, atol=1e-4)


class _NoForward(torch.autograd.Function):
    """Twice its input, without a forward-mode rule."""

    @staticmethod
    def forward(ctx: object, x: Tensor) -> Tensor:
        return 2 * x

    @staticmethod
    def backward(ctx: object, grad: Tensor) -> Tensor:
        return 2 * grad


class _Custom(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(3, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(_NoForward.apply(torch.tanh(self.inner(x))))


def test_an_operation_without_forward_mode_is_done_in_reverse() -> None:
    torch.manual_seed(0)
    model, x = _Custom(), torch.randn(4, 3)
    direction = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    _, moved = logit_derivative(model, x, direction)
    step = 1e-3
    with torch.no_grad():
        before = model(x)
        for name, value in model.named_parameters():
            value += step * direction[name]
        after = model(x)
    torch.testing.assert_close(moved, (after - before) / step, rtol=0.05, atol=0.05)


def test_validation_gradient_is_that_of_the_mean_loss() -> None:
    x, y, _, _ = problem()
    model = nn.Linear(4, 3).double().train()
    found = validation_gradient(model, zip(x.split(7), y.split(7), strict=True))
    expected = torch.autograd.grad(F.cross_entropy(model(x), y), list(model.parameters()))
    for value, wanted in zip(found.values(), expected, strict=True):
        torch.testing.assert_close(value, wanted)
    assert model.training and model.weight.grad is None
    with pytest.raises(DataError, match="the validation set has no sample"):
        validation_gradient(model, [])
