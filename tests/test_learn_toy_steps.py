"""The toy surface against autograd, and its five solvers against the project's own on the same surface."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.learn.toy_steps import SOLVERS, ToySettings, batch_noise, lpf_draws, points_of, toy_path, toy_step
from fvm_core.learn.toy_surface import START, Basin, ToySurface, two_basins
from fvm_core.tuning.asam import Asam
from fvm_core.tuning.batches import NOISE, derived_seed
from fvm_core.tuning.fsam import FSam
from fvm_core.tuning.lpf import Lpf
from fvm_core.tuning.sam import Sam
from fvm_core.tuning.sgd import Sgd

SURFACE = two_basins()
SETTINGS = ToySettings(radius=0.5, eta=0.02, sigma=0.7, lambda_=0.8, gamma=0.2, draws=3, noise=0.3, seed=4)
STEPS = 12


def torch_value(w: Tensor) -> Tensor:
    out = SURFACE.level + SURFACE.bowl * ((w - torch.tensor(SURFACE.middle)) ** 2).sum() / 2
    for basin in SURFACE.basins:
        centre, widths = torch.tensor(basin.centre), torch.tensor(basin.widths)
        out = out - basin.depth * torch.exp(-(((w - centre) / widths) ** 2).sum() / 2)
    return out


@pytest.fixture(autouse=True)
def doubles() -> Any:
    before = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(before)


class OnSurface(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor(START))


class BatchLoss:
    """Loss of a batch: the surface, tilted by the batch's noise."""

    def __init__(self, model: OnSurface, tilt: np.ndarray, size: int) -> None:
        self.model, self.tilt, self.size = model, torch.tensor(tilt), size

    def __call__(self, rows: slice | None = None) -> Tensor:
        return torch_value(self.model.weight) + self.tilt @ self.model.weight


def torch_solver(name: str) -> Any:
    return {
        "sgd": Sgd(),
        "sam": Sam(rho=SETTINGS.radius),
        "asam": Asam(rho=SETTINGS.radius, eta=SETTINGS.eta),
        "fsam": FSam(rho=SETTINGS.radius, sigma=SETTINGS.sigma, lambda_=SETTINGS.lambda_),
        "lpf": Lpf(gamma=SETTINGS.gamma, draws=SETTINGS.draws, seed=SETTINGS.seed, steps=STEPS),
    }[name]


def torch_normals(k: int) -> np.ndarray:
    """Return the numbers that the project's LPF draws in step k."""
    generator = torch.Generator().manual_seed(derived_seed(SETTINGS.seed, k, purpose=NOISE))
    return np.stack([torch.randn(2, generator=generator).numpy() for _ in range(SETTINGS.draws)])


def test_gradient_and_hessian_are_those_of_autograd() -> None:
    for point in np.random.default_rng(0).uniform(-1, 4, (10, 2)):
        w = torch.tensor(point, requires_grad=True)
        assert SURFACE.value(point) == pytest.approx(torch_value(w).item())
        np.testing.assert_allclose(SURFACE.gradient(point), torch.autograd.grad(torch_value(w), w)[0], atol=1e-12)
        hessian = torch.autograd.functional.hessian(torch_value, w.detach())
        np.testing.assert_allclose(SURFACE.hessian(point), hessian, atol=1e-11)
        assert SURFACE.sharpness(point) == pytest.approx(float(torch.linalg.eigvalsh(hessian)[-1]))
    grid = np.random.default_rng(1).uniform(0, 4, (3, 4, 2))
    assert SURFACE.value(grid).shape == (3, 4) and SURFACE.gradient(grid).shape == (3, 4, 2)
    np.testing.assert_allclose(SURFACE.gradient(grid)[1, 2], SURFACE.gradient(grid[1, 2]))


@pytest.mark.parametrize("name", SOLVERS)
def test_each_solver_walks_as_the_projects_own(name: str) -> None:
    model = OnSurface()
    optimizer, solver = torch.optim.SGD(model.parameters(), lr=SETTINGS.lr), torch_solver(name)
    w, average = np.array(START), None
    for k in range(STEPS):
        tilt = batch_noise(SETTINGS, k)
        mine = toy_step(SURFACE, name, w, SETTINGS, noise=tilt, average=average, normals=torch_normals(k))
        solver.step(model, optimizer, BatchLoss(model, tilt, 6), k=k)
        w, average = mine.end, mine.average
        np.testing.assert_allclose(w, model.weight.detach().numpy(), rtol=1e-9)
        assert not np.array_equal(w, mine.start)


def test_a_path_is_its_steps_and_the_seed_decides_it() -> None:
    path = toy_path(SURFACE, "fsam", np.array(START), SETTINGS, steps=5)
    second = toy_step(SURFACE, "fsam", path[0].end, SETTINGS, noise=batch_noise(SETTINGS, 1), average=path[0].average)
    np.testing.assert_array_equal(second.end, path[1].end)
    again = points_of(toy_path(SURFACE, "fsam", np.array(START), SETTINGS, steps=5))
    np.testing.assert_array_equal(points_of(path), again)
    other = points_of(toy_path(SURFACE, "fsam", np.array(START), ToySettings(radius=0.5, seed=5), steps=5))
    assert len(again) == 6 and not np.allclose(again[1:], other[1:])
    assert lpf_draws(SETTINGS, 3).shape == (3, 2) and not np.allclose(lpf_draws(SETTINGS, 3), lpf_draws(SETTINGS, 4))


def test_sam_climbs_exactly_the_radius_and_asam_in_units_of_the_weights() -> None:
    w = np.array([0.5, -2.0])
    sam = toy_step(SURFACE, "sam", w, SETTINGS)
    assert np.linalg.norm(sam.offsets) == pytest.approx(SETTINGS.radius)
    np.testing.assert_allclose(sam.probes[0], w + SETTINGS.radius * sam.gradient / np.linalg.norm(sam.gradient))
    asam = toy_step(SURFACE, "asam", w, SETTINGS)
    assert np.linalg.norm(asam.offsets[0] / (np.abs(w) + SETTINGS.eta)) == pytest.approx(SETTINGS.radius)


def test_errors_name_the_setting() -> None:
    for name, bad in (("lr", 0.0), ("radius", -1.0), ("eta", -1.0), ("sigma", -1.0), ("lambda_", 1.0),
                      ("gamma", -0.1), ("draws", 0), ("noise", -1.0), ("seed", -1)):  # fmt: skip
        with pytest.raises(SettingsError, match=f"`{name}` must be"):
            ToySettings(**{name: bad})
    with pytest.raises(SettingsError, match="`solver` must be one of"):
        toy_step(SURFACE, "adam", np.zeros(2), SETTINGS)
    with pytest.raises(SettingsError, match="`depth` and `widths` must be > 0"):
        ToySurface(basins=(Basin(centre=(0, 0), depth=0, widths=(1, 1)),))
