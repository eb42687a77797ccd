"""One step of SGD, SAM, ASAM, F-SAM and LPF on a toy surface, with every point it passes. Numpy only.

The formulas are those of `fvm_core/tuning/sam.py`, `asam.py`, `fsam.py` and `lpf.py`, written a second time: tests hold
both against each other on the same surface. The optimizer is SGD without momentum.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvm_core.errors import SettingsError
from fvm_core.field_types import check_rules, check_types
from fvm_core.learn.toy_surface import Point, ToySurface
from fvm_core.tuning.solvers import SOLVER_INFO

SOLVERS = tuple(SOLVER_INFO)


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    """`radius` is rho of SAM, ASAM and F-SAM; `eta` ASAM's, `sigma` and `lambda_` F-SAM's, `gamma` and `draws` LPF's.

    `noise` is the standard deviation that a batch adds to each entry of the gradient: the same at w and at w + e, as
    both passes see one batch. `seed` decides all randomness.

    Raises:
        SettingsError: a number out of its range.
    """

    lr: float = 0.2
    radius: float = 0.4
    eta: float = 0.01
    sigma: float = 1.0
    lambda_: float = 0.9
    gamma: float = 0.15
    draws: int = 4
    noise: float = 0.2
    seed: int = 0

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (self.lr > 0, "lr", "> 0"),
            (self.radius >= 0, "radius", ">= 0"),
            (self.eta >= 0, "eta", ">= 0"),
            (self.sigma >= 0, "sigma", ">= 0"),
            (0 <= self.lambda_ < 1, "lambda_", "in [0, 1)"),
            (self.gamma >= 0, "gamma", ">= 0"),
            (self.draws >= 1, "draws", ">= 1"),
            (self.noise >= 0, "noise", ">= 0"),
            (self.seed >= 0, "seed", ">= 0"),
        )
        check_rules(self, rules)


@dataclass(frozen=True)
class Step:
    """`start` w (2,), `gradient` g there, `offsets` e (m, 2): one, but LPF's `draws`; none for SGD.

    `gradients_there` (m, 2) at w + e, `used` (2,) the gradient that is stepped with (their mean), `end` = w - lr used.
    `average` is F-SAM's m after the step, None for the others.
    """

    start: Point
    gradient: Point
    offsets: NDArray[np.float64]
    gradients_there: NDArray[np.float64]
    used: Point
    end: Point
    average: Point | None = None

    @property
    def probes(self) -> NDArray[np.float64]:
        """Return the points w + e (m, 2) at which the second gradient was taken."""
        return self.start + self.offsets


def batch_noise(settings: ToySettings, k: int) -> Point:
    """Return (2,), what step k's batch adds to every gradient: a pure function of seed and k."""
    return settings.noise * np.random.default_rng([1, settings.seed, k]).standard_normal(2)


def lpf_draws(settings: ToySettings, k: int) -> NDArray[np.float64]:
    """Return (draws, 2) standard normal numbers of step k."""
    return np.random.default_rng([2, settings.seed, k]).standard_normal((settings.draws, 2))


def toy_step(
    surface: ToySurface,
    solver: str,
    w: Point,
    settings: ToySettings,
    *,
    noise: Point | None = None,
    average: Point | None = None,
    normals: NDArray[np.float64] | None = None,
) -> Step:
    """Do one step of `solver` (a key of SOLVER_INFO) from w (2,).

    `noise` (2,) is the batch's (none: no noise), `average` F-SAM's m before the step, `normals` (m, 2) LPF's draws
    (none: those of step 0).

    Raises:
        SettingsError: unknown solver.
    """
    if solver not in SOLVERS:
        raise SettingsError(f"`solver` must be one of {SOLVERS}, got {solver!r}.")
    added = np.zeros(2) if noise is None else noise
    g = surface.gradient(w) + added
    after = None
    if solver == "sgd":
        offsets = np.zeros((0, 2))
    elif solver == "sam":
        offsets = _towards(g, settings.radius)
    elif solver == "asam":
        t = np.abs(w) + settings.eta
        offsets = (settings.radius * t**2 * g / (np.linalg.norm(t * g) + 1e-16))[None]
    elif solver == "fsam":
        direction = g if average is None else g - settings.sigma * average
        after = g if average is None else settings.lambda_ * average + (1 - settings.lambda_) * g
        offsets = _towards(direction, settings.radius)
    else:
        drawn = lpf_draws(settings, 0) if normals is None else normals
        offsets = settings.gamma * np.linalg.norm(w) * drawn
    there = surface.gradient(w + offsets) + added
    used = there.mean(0) if len(there) else g
    return Step(w, g, offsets, there, used, w - settings.lr * used, after)


def toy_path(surface: ToySurface, solver: str, start: Point, settings: ToySettings, *, steps: int) -> list[Step]:
    """Return `steps` steps of `solver` from `start` (2,), each with the noise of its number."""
    w, average, found = np.asarray(start, dtype=np.float64), None, []
    for k in range(steps):
        step = toy_step(
            surface, solver, w, settings, noise=batch_noise(settings, k), average=average,
            normals=lpf_draws(settings, k),
        )  # fmt: skip
        found.append(step)
        w, average = step.end, step.average
    return found


def points_of(path: list[Step]) -> NDArray[np.float64]:
    """Return (steps + 1, 2): where a path was, from its start to its end.

    >>> still = ToySettings(lr=0.5, noise=0.0)
    >>> path = toy_path(ToySurface(basins=(), bowl=1.0), "sgd", np.array([1.0, 0.0]), still, steps=2)
    >>> points_of(path).tolist()
    [[1.0, 0.0], [0.5, 0.0], [0.25, 0.0]]
    """
    return np.array([step.start for step in path] + [path[-1].end])


def _towards(direction: Point, radius: float) -> NDArray[np.float64]:
    return (radius * direction / (np.linalg.norm(direction) + 1e-12))[None]
