"""The Fisher diagonal against a loop of autograd.grad, and its inverse."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import flat_scores, inverse_fisher
from fvm_core.models.resnet import CifarResNet


def small_model() -> nn.Module:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 4, 3, padding=1, bias=False), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 4, 3, groups=2),
        nn.GroupNorm(2, 4), nn.Flatten(), nn.LayerNorm(64), nn.PReLU(), nn.Linear(64, 3),
    )  # fmt: skip
    model[1].running_mean.uniform_(-0.5, 0.5)
    model[1].running_var.uniform_(0.5, 2)
    return model.eval()


def by_loop(model: nn.Module, x: torch.Tensor, y: torch.Tensor) -> dict[str, torch.Tensor]:
    """Mean over samples of the squared gradient, one autograd call a sample, in float64."""
    names, parameters = zip(*model.named_parameters(), strict=True)
    totals = {name: torch.zeros_like(p, dtype=torch.float64) for name, p in model.named_parameters()}
    for index in range(len(x)):
        loss = F.cross_entropy(model(x[index : index + 1]), y[index : index + 1])
        for name, grad in zip(names, torch.autograd.grad(loss, parameters), strict=True):
            totals[name] += grad.double().square()
    return {name: value / len(x) for name, value in totals.items()}


@pytest.mark.parametrize("size", [1, 4, 11])
def test_fisher_equals_a_loop_for_any_batches(size: int) -> None:
    model = small_model()
    x, y = torch.randn(11, 2, 6, 6), torch.randint(0, 3, (11,))
    told: list[int] = []
    found = fisher_diagonal(model, zip(x.split(size), y.split(size), strict=True), progress=told.append)
    expected = by_loop(model, x, y)
    assert set(found) == set(expected) and told[-1] == 11
    for name, value in expected.items():
        assert found[name].dtype == torch.float64
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-6 * value.max().item(), msg=name)


def test_fisher_of_a_resnet_equals_a_loop() -> None:
    torch.manual_seed(1)
    model = CifarResNet((1, 1, 1), num_classes=4, width=8).eval()
    x, y = torch.randn(5, 3, 16, 16), torch.randint(0, 4, (5,))
    found, expected = fisher_diagonal(model, [(x, y)]), by_loop(model, x, y)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-4, atol=1e-6 * value.max().item(), msg=name)


def test_flat_scores_equal_the_formula() -> None:
    """s = g^T (F + d)^-1 g with both from autograd; also at d = 0.1."""
    model = small_model()
    x, y = torch.randn(9, 2, 6, 6), torch.randint(0, 3, (9,))
    fisher = by_loop(model, x[:5], y[:5])
    for damping in (1e-8, 0.1):
        s = flat_scores(model, x[5:], y[5:], [(x[:5], y[:5])], damping=damping)
        for row in range(4):
            g = torch.autograd.grad(
                F.cross_entropy(model(x[5 + row : 6 + row]), y[5 + row : 6 + row]), [*model.parameters()]
            )
            expected = sum((v.double().square() / (f + damping)).sum() for v, f in zip(g, fisher.values(), strict=True))
            assert s[row].item() == pytest.approx(float(expected), rel=1e-4) and s[row] > 0


def test_a_sample_that_the_validation_set_contradicts_scores_higher() -> None:
    """Sign: with a model that fits the validation labels, a wrong label gives a larger s than the right one."""
    torch.manual_seed(0)
    x = torch.cat([torch.randn(40, 2) + 3, torch.randn(40, 2) - 3])
    y = torch.arange(2).repeat_interleave(40)
    model = nn.Linear(2, 2)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(100):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    right, wrong = (flat_scores(model, x, labels, [(x, y)]) for labels in (y, 1 - y))
    assert (wrong > right).all()


def test_fisher_needs_a_sample() -> None:
    with pytest.raises(DataError, match="the validation set has no sample"):
        fisher_diagonal(nn.Linear(2, 2), [])


def test_damping_out_of_range_is_named() -> None:
    fisher = {"head.weight": torch.tensor([1.0, 0.0, 0.0])}
    with pytest.raises(SettingsError, match="`damping` must be >= 0, got -1"):
        inverse_fisher(fisher, damping=-1)
    with pytest.raises(
        SettingsError, match=r"`damping` must be > 0 here, got 0: the Fisher of `head.weight` is 0 at 2 of 3"
    ):
        inverse_fisher(fisher, damping=0)
    with pytest.raises(SettingsError, match="`damping` must be > 0 here"):
        inverse_fisher({"w": torch.tensor([1e-300], dtype=torch.float64)}, damping=0)
