"""The top eigenvalue against dense Hessians."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, hessian
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.tuning.hessian import power_iteration, top_eigenvalue


def dense_hessian(model: nn.Module, x: Tensor, y: Tensor) -> Tensor:
    """The (p, p) Hessian of the mean cross-entropy by torch.func, eval mode."""
    model.eval()
    shapes = {name: p.shape for name, p in model.named_parameters()}
    vector = torch.cat([p.detach().flatten() for p in model.parameters()])

    def loss(flat: Tensor) -> Tensor:
        pieces = torch.split(flat, [shape.numel() for shape in shapes.values()])
        parameters = {name: part.view(shape) for (name, shape), part in zip(shapes.items(), pieces, strict=True)}
        return F.cross_entropy(functional_call(model, parameters, (x,)), y)

    return hessian(loss)(vector)


def small_net() -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 3, 3), nn.BatchNorm2d(3), nn.Tanh(), nn.Flatten(), nn.Linear(27, 3)).double()
    x, y = torch.randn(20, 1, 5, 5, dtype=torch.float64), torch.randint(0, 3, (20,))
    model(x)
    return model, x, y


def test_top_eigenvalue_equals_the_dense_hessian_s() -> None:
    model, x, y = small_net()
    values = torch.linalg.eigvalsh(dense_hessian(model, x, y))
    model.train()
    found = top_eigenvalue(model, [(x[:13], y[:13]), (x[13:], y[13:])], iterations=300, tolerance=1e-10)
    assert found.value == pytest.approx(float(values[-1]), rel=1e-5)
    assert found.residual < 1e-2 * found.value
    assert found.products <= 300


def test_twenty_iterations_are_within_five_percent_here() -> None:
    model, x, y = small_net()
    top = float(torch.linalg.eigvalsh(dense_hessian(model, x, y))[-1])
    assert top_eigenvalue(model, [(x, y)]).value == pytest.approx(top, rel=0.05)


@pytest.mark.parametrize("spectrum", [(5.0, 2.0, 1.0, -3.0), (0.5, 0.2, -1.0, -4.0), (-1.0, -2.0, -3.0, -6.0)])
def test_the_largest_not_the_most_negative_is_found(
    spectrum: tuple[float, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(1)
    basis = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64))[0]
    matrix = basis @ torch.diag(torch.tensor(spectrum, dtype=torch.float64)) @ basis.T
    model = nn.Linear(2, 2, bias=False).double()
    monkeypatch.setattr("fvm_core.tuning.hessian._product", lambda *_: lambda v: [(matrix @ v[0].flatten()).view(2, 2)])
    x, y = torch.zeros(1, 2, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    found = top_eigenvalue(model, [(x, y)], iterations=500, tolerance=1e-12)
    assert found.value == pytest.approx(spectrum[0], rel=1e-6)


def test_power_iteration_on_a_diagonal_with_its_residual() -> None:
    diagonal = torch.tensor([4.0, 1.0, 0.5], dtype=torch.float64)
    found = power_iteration(lambda v: [diagonal * v[0]], [diagonal], iterations=3, seed=0, tolerance=0.0)
    assert found.products == 3
    assert 0.5 <= found.value <= 4.0
    assert abs(found.value - 4.0) <= found.residual + 1e-9 or abs(found.value - 1.0) <= found.residual + 1e-9


def test_a_zero_hessian_gives_zero() -> None:
    zero = torch.zeros(3)
    assert power_iteration(lambda v: [zero * v[0]], [zero], iterations=5, seed=0, tolerance=1e-2).value == 0.0


def test_measuring_changes_nothing() -> None:
    model, x, y = small_net()
    model.train()
    F.cross_entropy(model(x), y).backward()
    before = {key: value.clone() for key, value in model.state_dict().items()}
    gradients = [parameter.grad.clone() for parameter in model.parameters()]
    random_state = torch.get_rng_state()
    top_eigenvalue(model, [(x, y)], iterations=3)
    assert all(torch.equal(before[key], value) for key, value in model.state_dict().items())
    assert all(torch.equal(g, p.grad) for g, p in zip(gradients, model.parameters(), strict=True))
    assert all(module.training for module in model.modules())
    assert torch.equal(torch.get_rng_state(), random_state)


def test_settings_out_of_range_are_refused() -> None:
    model, x, y = small_net()
    with pytest.raises(SettingsError, match=r"`iterations` must be >= 1, got 0"):
        top_eigenvalue(model, [(x, y)], iterations=0)
    with pytest.raises(SettingsError, match=r"`batches` must hold at least one sample"):
        top_eigenvalue(model, [(x[:0], y[:0])])
