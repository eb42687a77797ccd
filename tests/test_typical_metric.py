"""The typical metric against whole Jacobians of torch.func, in one go and in groups of classes."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, jacrev, vmap

from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.typical_metric import quadratic, typical_metric


def net(outputs: int = 5) -> nn.Module:
    torch.manual_seed(0)
    body = nn.Sequential(
        nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Tanh(), nn.Conv2d(4, 4, 3, groups=2), nn.Flatten(), nn.LayerNorm(16),
        nn.Linear(16, outputs),
    )  # fmt: skip
    body[1].running_mean.normal_()
    return body.eval()


def drawn(model: nn.Module) -> tuple[Tensor, dict[str, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(11, 1, 6, 6, generator=generator)
    weights = {k: torch.rand(v.shape, generator=generator, dtype=torch.float64) for k, v in model.named_parameters()}
    return x, weights


def dense(model: nn.Module, x: Tensor, weights: dict[str, Tensor], classes: int) -> Tensor:
    """Return the mean of J W J^T from Jacobians that exist as a whole."""
    values, buffers = dict(model.named_parameters()), dict(model.named_buffers())

    def logits(values: dict[str, Tensor], one: Tensor) -> Tensor:
        return functional_call(model, {**values, **buffers}, (one[None],))[0, :classes]

    jacobian = vmap(jacrev(logits), in_dims=(None, 0))(values, x)
    parts = [
        torch.einsum("nkp,p,nlp->kl", j.detach().flatten(2).double(), weights[name].flatten(), j.flatten(2).double())
        for name, j in jacobian.items()
    ]
    return torch.stack(parts).sum(0).detach() / len(x)


@pytest.mark.parametrize("budget", [1 << 30, 40_000, 1])  # all classes at once, groups of them, one by one
@pytest.mark.parametrize("classes", [5, 3])
def test_typical_metric_is_the_mean_of_the_images_own(budget: int, classes: int) -> None:
    model = net()
    x, weights = drawn(model)
    told: list[int] = []
    found = typical_metric(
        SquaredGradients(model, x[:2]), x.split(4), weights, classes=classes, budget=budget, progress=told.append
    )
    torch.testing.assert_close(found, dense(model, x, weights, classes), rtol=1e-5, atol=1e-7)
    torch.testing.assert_close(found, found.t(), rtol=0, atol=0)
    assert told == sorted(told) and told[-1] == len(x)


def test_quadratic_of_one_image_is_its_squared_gradient() -> None:
    model = net()
    x, weights = drawn(model)
    r = torch.tensor([0.2, -1.0, 0.5, 0.3, 0.0], dtype=torch.float64)
    metric = typical_metric(SquaredGradients(model, x[:2]), [x[:1]], weights, classes=5)
    grads = torch.autograd.grad((model(x[:1])[0].double() * r).sum(), list(model.parameters()))
    exact = sum(float((g.double().square() * w).sum()) for g, w in zip(grads, weights.values(), strict=True))
    assert float(quadratic(r, metric)) == pytest.approx(exact, rel=1e-5)
