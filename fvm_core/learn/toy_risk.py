"""Figure 1 as a formula: a risk of one parameter with wells of any width, and how well it is foretold. Numpy only."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fvm_core.errors import SettingsError


@dataclass(frozen=True, kw_only=True)
class Well:
    """One minimum: a Gaussian of `depth` (in the risk's unit) and `width` (in the parameter's) at `centre`.

    Alone, its curvature at the centre is depth / width^2.

    Raises:
        SettingsError: a number that is not finite, or depth or width that is not > 0.
    """

    centre: float
    depth: float
    width: float

    def __post_init__(self) -> None:
        if not math.isfinite(self.centre):
            raise SettingsError(f"`centre` must be a finite number, got {self.centre}.")
        for name in ("depth", "width"):
            if not 0 < getattr(self, name) < math.inf:
                raise SettingsError(f"`{name}` must be > 0, got {getattr(self, name)}. Make the well deeper or wider.")


@dataclass(frozen=True, kw_only=True)
class ToyRisk:
    """R(t) = level + bowl t^2 / 2 - sum over wells of depth exp(-(t - centre)^2 / (2 width^2)).

    Values, slopes and curvatures are exact formulas, element by element; any shape of t is kept.
    """

    wells: tuple[Well, ...]
    level: float = 1.25
    bowl: float = 0.02

    def value(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return R(t)."""
        t = np.asarray(theta, dtype=np.float64)
        return self.level + self.bowl * t**2 / 2 - sum(self._bell(well, t) for well in self.wells)

    def slope(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return R'(t)."""
        t = np.asarray(theta, dtype=np.float64)
        return self.bowl * t + sum(self._bell(w, t) * (t - w.centre) / w.width**2 for w in self.wells)

    def curvature(self, theta: ArrayLike) -> NDArray[np.float64]:
        """Return R''(t)."""
        t = np.asarray(theta, dtype=np.float64)
        bent = (self._bell(w, t) * (1 - ((t - w.centre) / w.width) ** 2) / w.width**2 for w in self.wells)
        return self.bowl + sum(bent, np.zeros_like(t))

    def minimum(self, well: int) -> float:
        """Return the minimum within one width of a well's centre (bowl and other wells move it a little).

        Raises:
            SettingsError: another well is so near, or so much deeper, that there is none.
        """
        one = self.wells[well]
        low, high = one.centre - one.width, one.centre + one.width
        if not self.slope(low) < 0 < self.slope(high):
            raise SettingsError(
                f"`centre` {one.centre:g} must have a minimum within its `width` {one.width:g}, but the other well "
                "swallows it. Move the wells apart, or make this one deeper."
            )
        for _ in range(200):
            middle = (low + high) / 2
            low, high = (middle, high) if self.slope(middle) < 0 else (low, middle)
        return (low + high) / 2

    @staticmethod
    def _bell(well: Well, t: NDArray[np.float64]) -> NDArray[np.float64]:
        return well.depth * np.exp(-((t - well.centre) ** 2) / (2 * well.width**2))


@dataclass(frozen=True)
class Foretold:
    """A change of the risk and two estimates of it, in the risk's unit: positive = the risk rises.

    `first` is R' d (Eq. 4), `second` R' d + R'' d^2 / 2 (Eq. 54; at a minimum R' is 0 and it is Eq. 19).
    """

    actual: float
    first: float
    second: float

    @property
    def first_gap(self) -> float:
        """Return the first-order estimate minus the true change."""
        return self.first - self.actual

    @property
    def second_gap(self) -> float:
        """Return the second-order estimate minus the true change."""
        return self.second - self.actual


def foretell(risk: ToyRisk, theta: float, delta: float) -> Foretold:
    """Return what a parameter change `delta` at `theta` does to the risk, and what its derivatives at theta foretell.

    >>> flat = ToyRisk(wells=(Well(centre=0, depth=1, width=2),), bowl=0)
    >>> found = foretell(flat, 0.0, 0.5)
    >>> found.first, found.second
    (0.0, 0.03125)
    """
    slope, curvature = float(risk.slope(theta)), float(risk.curvature(theta))
    actual = float(risk.value(theta + delta) - risk.value(theta))
    return Foretold(actual, slope * delta, slope * delta + curvature * delta**2 / 2)
