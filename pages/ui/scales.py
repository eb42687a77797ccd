"""Axes for scores that span many powers of ten, some of them signed: numbers to positions, and readable ticks."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

_SUPERSCRIPT = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def power_of_ten(exponent: int) -> str:
    """Return 10 to `exponent` as plain text.

    >>> power_of_ten(-3)
    '10⁻³'
    """
    return {0: "1", 1: "10"}.get(exponent, "10" + str(exponent).translate(_SUPERSCRIPT))


@dataclass(frozen=True)
class Scale:
    """A monotonic map from score to axis position.

    `linear`: the score itself. `log`: log10, anything below `threshold` (> 0) is drawn at it.
    `symlog`: sign(x) log10(1 + |x| / threshold), linear near 0, so that both signs and 0 have a place.
    """

    kind: str = "linear"
    threshold: float = 1.0

    def forward(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return positions, same shape as `values`."""
        x = np.asarray(values, dtype=np.float64)
        if self.kind == "log":
            return np.log10(np.maximum(x, self.threshold))
        if self.kind == "symlog":
            return np.sign(x) * np.log10(1 + np.abs(x) / self.threshold)
        return x

    def inverse(self, positions: ArrayLike) -> NDArray[np.float64]:
        """Return the scores at `positions`."""
        y = np.asarray(positions, dtype=np.float64)
        if self.kind == "log":
            return 10.0**y
        if self.kind == "symlog":
            return np.sign(y) * self.threshold * (10.0 ** np.abs(y) - 1)
        return y

    def ticks(self, low: float, high: float, *, most: int = 7) -> tuple[list[float], list[str]] | None:
        """Return positions and texts of ticks between positions `low` and `high`, or None to leave them to plotly."""
        return None if self.kind == "linear" else self.marks(low, high, most=most)

    def marks(self, low: float, high: float, *, most: int = 7) -> tuple[list[float], list[str]]:
        """Return positions and texts of ticks between positions `low` and `high`, about `most` of them."""
        if self.kind == "linear":
            return round_numbers(low, high, most)
        if self.kind == "log":
            exponents = _thin(int(np.ceil(low - 1e-9)), int(np.floor(high + 1e-9)), most)
            return [float(e) for e in exponents], [power_of_ten(e) for e in exponents]
        first = round(np.log10(self.threshold))
        top = int(np.floor(np.log10(max(float(np.abs(self.inverse([low, high])).max()), self.threshold)) + 1e-9))
        exponents = _thin(first + 1, max(top, first + 1), max(most // 2, 2))
        values = [-(10.0**e) for e in reversed(exponents)] + [0.0] + [10.0**e for e in exponents]
        texts = ["−" + power_of_ten(e) for e in reversed(exponents)] + ["0"] + [power_of_ten(e) for e in exponents]
        kept = [(float(self.forward(v)), t) for v, t in zip(values, texts, strict=True)]
        kept = [(position, text) for position, text in kept if low - 1e-9 <= position <= high + 1e-9]
        return [position for position, _ in kept], [text for _, text in kept]


def round_numbers(low: float, high: float, most: int) -> tuple[list[float], list[str]]:
    """Return at most `most` multiples of 1, 2 or 5 times a power of ten between `low` and `high`, and their texts.

    >>> round_numbers(-0.21, 0.33, 4)
    ([-0.2, 0.0, 0.2], ['−0.2', '0', '0.2'])
    """
    if not high > low:
        return [low], [f"{low:.4g}".replace("-", "−")]
    power = int(np.floor(np.log10((high - low) / most)))
    for factor in (1, 2, 5, 10, 20, 50):
        step = factor * 10.0**power
        first, last = int(np.ceil(low / step - 1e-9)), int(np.floor(high / step + 1e-9))
        if last - first < most:
            break
    numbers = [round(number * step, max(0, -power)) for number in range(first, last + 1)]
    digits = max(10, int(np.log10(max(abs(low), abs(high)))) - power + 2)  # enough to tell one from the next
    return numbers, [f"{number:.{min(digits, 17)}g}".replace("-", "−") for number in numbers]


def _thin(first: int, last: int, most: int) -> list[int]:
    """Return at most about `most` whole numbers from `first` to `last`, evenly spaced."""
    step = max(1, int(np.ceil((last - first + 1) / most)))
    return list(range(first, last + 1, step))


def fit_scale(values: ArrayLike) -> Scale:
    """Choose the scale for a sample of scores: linear if sizes differ by less than 50 times, else log when all are
    >= 0, symlog with both signs.

    The log axis starts at the 0.1% quantile of the positive values, so that a few zeros do not stretch it.

    >>> fit_scale([0.1, 0.5, 1.0]).kind, fit_scale([1e-6, 1.0, 50.0]).kind, fit_scale([-100.0, 0.01, 3.0]).kind
    ('linear', 'log', 'symlog')
    """
    x = np.asarray(values, dtype=np.float64)
    x = x[np.isfinite(x)]
    size = np.abs(x[x != 0])
    if not size.size:
        return Scale()
    low, middle, high = np.quantile(size, [0.001, 0.5, 0.999])
    if high / max(low, 1e-300) < 50:
        return Scale()
    if x.min() >= 0:
        return Scale("log", float(low))
    return Scale("symlog", float(10.0 ** np.floor(np.log10(middle) - 1)))
