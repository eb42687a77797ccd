"""A loss of two weights with a sharp and a flat minimum, for looking at a solver's steps. Numpy only."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fvm_core.errors import SettingsError

Point = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Basin:
    """A minimum at `centre` (2,) that is `widths` (2,) wide along the axes. Raises SettingsError unless all are > 0."""

    centre: tuple[float, float]
    depth: float
    widths: tuple[float, float]

    def __post_init__(self) -> None:
        if not (self.depth > 0 and min(self.widths) > 0):
            raise SettingsError(f"`depth` and `widths` must be > 0, got {self.depth} and {self.widths}.")


@dataclass(frozen=True, kw_only=True)
class ToySurface:
    """L(w) = level + bowl |w - middle|^2 / 2 - sum of depth exp(-sum_i (w_i - centre_i)^2 / (2 widths_i^2)).

    w is (..., 2); all formulas are exact.
    """

    basins: tuple[Basin, ...]
    level: float = 1.3
    bowl: float = 0.03
    middle: tuple[float, float] = (0.0, 0.0)

    def value(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return L(w), shape (...)."""
        w = np.asarray(w, dtype=np.float64)
        raised = self.bowl * ((w - np.asarray(self.middle)) ** 2).sum(-1) / 2
        return self.level + raised - sum(self._bell(basin, w) for basin in self.basins)

    def gradient(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return the gradient at w, shape (..., 2)."""
        w = np.asarray(w, dtype=np.float64)
        out = self.bowl * (w - np.asarray(self.middle))
        for basin in self.basins:
            out = out + self._bell(basin, w)[..., None] * self._pull(basin, w)
        return out

    def hessian(self, w: ArrayLike) -> NDArray[np.float64]:
        """Return the second derivatives at one point w (2,), shape (2, 2)."""
        w = np.asarray(w, dtype=np.float64)
        out = self.bowl * np.eye(2)
        for basin in self.basins:
            pull = self._pull(basin, w)
            out = out + self._bell(basin, w) * (np.diag(1 / np.asarray(basin.widths) ** 2) - np.outer(pull, pull))
        return out

    def sharpness(self, w: ArrayLike) -> float:
        """Return the largest eigenvalue of the Hessian at w (2,)."""
        return float(np.linalg.eigvalsh(self.hessian(w))[-1])

    @staticmethod
    def _pull(basin: Basin, w: Point) -> Point:
        return (w - np.asarray(basin.centre)) / np.asarray(basin.widths) ** 2

    @staticmethod
    def _bell(basin: Basin, w: Point) -> NDArray[np.float64]:
        squares = ((w - np.asarray(basin.centre)) / np.asarray(basin.widths)) ** 2
        return basin.depth * np.exp(-squares.sum(-1) / 2)


SHARP, FLAT = (1.0, 1.3), (3.0, 2.6)
START = (0.3, 1.9)


def two_basins(*, sharp_width: float = 0.35, flat_width: float = 1.6) -> ToySurface:
    """Return the surface of the Learn page: a narrow basin at SHARP in the slope of a wide one at FLAT."""
    return ToySurface(
        basins=(
            Basin(centre=SHARP, depth=0.35, widths=(sharp_width, sharp_width)),
            Basin(centre=FLAT, depth=1.0, widths=(flat_width, flat_width)),
        ),
        bowl=0.05,
        middle=FLAT,
    )
