"""What a review has brought so far: how many flags were confirmed at which rank, how many errors are left, when to
stop."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import binomtest

from fvm_core.errors import ReviewError

UNSEEN, RIGHT, WRONG, SKIPPED = -1, 0, 1, 2
"""Verdict on a sample: not looked at; its label stands; it was changed (accepted or another class picked); skipped."""

NEAR, PRIOR = 500, 5.0
"""How many of the deepest judged samples say how far the posterior is to be believed, and how many wrong labels of its
own count beside theirs."""


@dataclass(frozen=True)
class Band:
    """Ranks `first` to `last` (from 1, both in) of the list, the most suspicious first.

    `judged` of them have a verdict, `wrong` of these a wrong label; skipped ones are neither. `low`, `high`: 95 %
    Wilson interval of the rate of wrong labels in [0, 1]; (0, 1) where nothing was judged.
    """

    first: int
    last: int
    judged: int
    wrong: int
    low: float
    high: float

    @property
    def rate(self) -> float:
        """Return wrong / judged, NaN without any."""
        return self.wrong / self.judged if self.judged else float("nan")


@dataclass(frozen=True)
class Left:
    """Wrong labels among the samples without a verdict: `expected`, and `at_most` (95 % bounds of each band, where the
    rate of a band is taken not to exceed that of a better ranked one). `basis` says what `expected` comes from."""

    expected: float
    at_most: float
    basis: str


@dataclass(frozen=True, kw_only=True)
class StopRule:
    """Stop when among the last `window` judged samples (in rank) the rate of wrong labels is below `rate`, by the upper
    end of its Wilson interval (`sure`), or by the rate itself."""

    window: int = 50
    rate: float = 0.1
    sure: bool = True

    def __post_init__(self) -> None:
        if not isinstance(self.window, int) or self.window < 1:
            raise ReviewError(f"`window` must be a whole number >= 1, got {self.window!r}.")
        if not 0 < self.rate < 1:
            raise ReviewError(f"`rate` must be in (0, 1), got {self.rate!r}.")


@dataclass(frozen=True)
class Advice:
    """`stop`: whether the rule is met. `judged`, `wrong` of the window, `high` the Wilson interval's upper end."""

    stop: bool
    judged: int
    wrong: int
    high: float


def wilson(wrong: int, judged: int, *, level: float = 0.95) -> tuple[float, float]:
    """Return the Wilson score interval of a rate (Wilson 1927); (0, 1) for no sample.

    >>> [round(value, 3) for value in wilson(8, 10)]
    [0.49, 0.943]
    """
    if judged == 0:
        return 0.0, 1.0
    found = binomtest(wrong, judged).proportion_ci(level, method="wilson")
    return float(found.low), float(found.high)


def edges(n: int, *, first: int = 50, ratio: float = 2.0) -> list[int]:
    """Return the last ranks of bands that widen: `first` ranks, then `ratio` times as many each, up to `n`.

    >>> edges(500)
    [50, 150, 350, 500]
    """
    found: list[int] = []
    width = float(first)
    while not found or found[-1] < n:
        found.append(min(n, (found[-1] if found else 0) + int(width)))
        width *= ratio
    return found


def bands(verdicts: ArrayLike, ends: Sequence[int] | None = None) -> list[Band]:
    """Return the bands of a list. `verdicts` (n,) in order of rank: UNSEEN, RIGHT, WRONG or SKIPPED.

    `ends` (default `edges(n)`): the last rank of each band, ascending.
    """
    known = np.asarray(verdicts)
    out, start = [], 0
    for end in edges(len(known)) if ends is None else ends:
        part = known[start:end]
        judged, wrong = int(_judged(part).sum()), int((part == WRONG).sum())
        out.append(Band(start + 1, int(end), judged, wrong, *wilson(wrong, judged)))
        start = int(end)
    return out


def _judged(verdicts: NDArray[np.integer]) -> NDArray[np.bool_]:
    return (verdicts == RIGHT) | (verdicts == WRONG)


def left(verdicts: ArrayLike, chance: ArrayLike | None = None, ends: Sequence[int] | None = None) -> Left:
    """Return how many wrong labels the samples without a verdict (unseen or skipped) are expected to hold.

    `chance` (n,) in [0, 1]: P(label is wrong) in order of rank, as from the label error posterior. It is multiplied by
    wrong labels found over those it expected, of the NEAR deepest judged samples, which are the most like the ones
    left. Without it the rates of the bands are taken, and a band without any verdict has the rate of the band before
    it: an overestimate where the ranking is good.

    Measured on CIFAR-10N `worse` with true verdicts on the first 20, 500, 5,000 and 20,000 of 50,000: 17,014, 16,528,
    12,309 and 2,540 left, where 20,084, 19,605, 15,143 and 3,599 are: too low by 15 to 30 %, as the posterior is.

    Raises:
        ReviewError: `chance` has another length.
    """
    known = np.asarray(verdicts)
    judged = _judged(known)
    open_ = ~judged
    found = bands(known, ends)
    high, rate, at_most, by_band = 1.0, 1.0, 0.0, 0.0
    for band in found:
        count = int(open_[band.first - 1 : band.last].sum())
        high = min(high, band.high)
        rate = band.rate if band.judged else rate
        at_most += count * high
        by_band += count * rate
    if chance is None:
        basis = "the rate of each band" if judged.any() else "nothing: no sample was judged yet"
        return Left(by_band, at_most, basis)
    p = np.asarray(chance, dtype=np.float64)
    if p.shape != known.shape:
        raise ReviewError(f"`chance` must have one value for each of {len(known)} samples, got {p.shape}. Score again.")
    factor = _factor(p[judged], known[judged] == WRONG)
    words = "the label error posterior" + ("" if factor == 1 else ", scaled to what the review found")
    return Left(float(np.minimum(p[open_] * factor, 1).sum()), at_most, words)


def _factor(chance: NDArray[np.float64], wrong: NDArray[np.bool_]) -> float:
    """Return wrong labels found over those expected, of the NEAR deepest judged samples; PRIOR of each are added."""
    found, expected = int(wrong[-NEAR:].sum()), float(chance[-NEAR:].sum())
    return (found + PRIOR) / (expected + PRIOR) if len(wrong) else 1.0


def advice(verdicts: ArrayLike, rule: StopRule) -> Advice:
    """Say whether to stop: looks at the `rule.window` judged samples of the deepest ranks; fewer never stop."""
    known = np.asarray(verdicts)
    last = known[_judged(known)][-rule.window :]
    wrong = int((last == WRONG).sum())
    high = wilson(wrong, len(last))[1]
    value = high if rule.sure else (wrong / len(last) if len(last) else 1.0)
    return Advice(len(last) == rule.window and value < rule.rate, len(last), wrong, high)
