"""What the solver tests share: points on quadratics, a small network with BatchNorm, losses that tell what they saw."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.tuning.make_solver import make_solver
from fvm_core.tuning.settings import SOLVERS, TuneSettings
from fvm_core.tuning.solver import Solver

SHARP = tuple(solver for solver in SOLVERS if solver != "sgd")
TWO_PASSES = ("sam", "asam", "fsam")
LR = 0.1


class Point(nn.Module):
    """Named parameters in float64 and nothing else: `Point(weight=[3.0, 1.0])`."""

    def __init__(self, **values: Any) -> None:
        super().__init__()
        for name, value in values.items():
            self.register_parameter(name, nn.Parameter(torch.tensor(value, dtype=torch.float64)))


def flat(module: nn.Module) -> Tensor:
    return torch.cat([parameter.detach().flatten() for parameter in module.parameters()])


class Seen:
    """A loss function over `size` rows that keeps the weights and the rows of each of its calls."""

    def __init__(self, model: nn.Module, loss: Callable[[slice], Tensor], *, size: int = 1) -> None:
        self.model, self.loss, self.size = model, loss, size
        self.weights: list[Tensor] = []
        self.rows: list[slice] = []

    def __call__(self, rows: slice | None = None) -> Tensor:
        rows = slice(0, self.size) if rows is None else rows
        self.weights.append(flat(self.model))
        self.rows.append(rows)
        return self.loss(rows)


def quadratic(point: nn.Module, a: Tensor, *, size: int = 1) -> Seen:
    """w' A w / 2 over all parameters of `point` in a row, the same for all rows."""

    def loss(rows: slice) -> Tensor:
        w = torch.cat([parameter.flatten() for parameter in point.parameters()])
        return 0.5 * w @ a @ w

    return Seen(point, loss, size=size)


def bn_net(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 9, 3))


def images(n: int = 8) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(3)
    return torch.randn(n, 2, 5, 5, generator=generator), torch.randint(0, 3, (n,), generator=generator)


def cross_entropy(model: nn.Module, *, n: int = 8, bf16: bool = False) -> Seen:
    """The mean cross-entropy of `model` on `images(n)`, under bf16 autocast if asked for."""
    x, y = images(n)

    def loss(rows: slice) -> Tensor:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=bf16):
            return F.cross_entropy(model(x[rows]), y[rows])

    return Seen(model, loss, size=n)


def sgd(model: nn.Module, **options: float) -> torch.optim.SGD:
    return torch.optim.SGD(model.parameters(), **{"lr": LR, **options})


def solver(name: str, **settings: Any) -> Solver:
    return make_solver(TuneSettings(solver=name, **settings))


def far(name: str) -> dict[str, float]:
    """Settings under which solver `name` looks very far from the weights."""
    return {"sgd": {}, "lpf": {"lpf_gamma": 1e4}}.get(name, {"rho": 1e6})
