"""Theorem 3.2 with a run's own numbers: mu, the perturbed risk, the bound, and the sign error it should bound."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvm_core.errors import DataError, SettingsError


def hoeffding_bound(mu: float, reach: float) -> float:
    """Return exp(-2 mu^2 / reach^2), in (0, 1]: Eq. 11 with the perturbed risk as reach, Eq. 37 with the range of I.

    Raises:
        SettingsError: `reach` is not > 0.

    >>> round(hoeffding_bound(0.5, 1.0), 4)
    0.6065
    """
    if not reach > 0:
        raise SettingsError(f"`reach` must be > 0, got {reach}: a risk or a range of 0 leaves nothing to bound.")
    return math.exp(-2 * (mu / reach) ** 2)


def sample_term(*, samples: int, delta: float) -> float:
    """Return sqrt(-log(delta) / (2 samples)), what Corollary 3.3 (Eq. 13) adds for a finite sample.

    Raises:
        SettingsError: no sample, or `delta` outside (0, 1).
    """
    if samples < 1 or not 0 < delta < 1:
        raise SettingsError(f"`samples` must be >= 1 and `delta` in (0, 1), got {samples} and {delta}.")
    return math.sqrt(-math.log(delta) / (2 * samples))


@dataclass(frozen=True)
class Bound:
    """`mean_right`, `mean_wrong`: E of I over D+ and D-; `holds`: whether Eq. 10 does (first > 0 > second).

    `mu` = min(|mean_right|, |mean_wrong|). `reach` = max I - min I over the sample. `sign_error` (0 to 1): share of the
    sample whose sign of I is not that of I*; an I of exactly 0 counts as wrong. `error_right`, `error_wrong`: its share
    among the rightly and the wrongly labelled. `by_range` is Eq. 37 and `by_risk` Eq. 11 at the `risk` given.
    """

    samples: int
    mean_right: float
    mean_wrong: float
    mu: float
    reach: float
    risk: float
    sign_error: float
    error_right: float
    error_wrong: float
    by_range: float
    by_risk: float

    @property
    def holds(self) -> bool:
        """Return whether Eq. 10, the assumption of the theorem, holds. Then `by_range` is at least exp(-1/2)."""
        return self.mean_right > 0 > self.mean_wrong

    @property
    def spanned(self) -> bool:
        """Return whether the range of I is at most the perturbed risk (Eq. 39); else Eq. 11 does not follow."""
        return self.reach <= self.risk


def bound_of(influence: NDArray[np.float64], wrong: NDArray[np.bool_], *, risk: float, epsilon: float = 1.0) -> Bound:
    """Return Theorem 3.2's quantities from I (n,), positive = helpful, and which labels are wrong (n,).

    I* is not known: as in Section 4.1, its sign is taken to be + for right labels and - for wrong ones. `risk` is the
    perturbed validation risk (Eq. 12), in nats. `epsilon` multiplies I: 1 for Eq. 6 as it stands, 1/N for the risk
    change that removing a sample makes, which Eq. 38 puts in its place. Eq. 37 does not depend on it, Eq. 11 does.

    Raises:
        DataError: not both kinds of labels, or values that are not finite.
        SettingsError: `risk` or `epsilon` is not > 0.
    """
    values = np.asarray(influence, dtype=np.float64)
    if not (wrong.any() and (~wrong).any()):
        raise DataError("the sample must hold right and wrong labels, known as such. Take a dataset with clean labels.")
    if not np.isfinite(values).all():
        raise DataError("the influence must be finite for every sample. Score again with another `lissa_scale`.")
    if not epsilon > 0:
        raise SettingsError(f"`epsilon` must be > 0, got {epsilon}.")
    values = epsilon * values
    means = float(values[~wrong].mean()), float(values[wrong].mean())
    missed = np.where(wrong, values >= 0, values <= 0)
    mu, reach = min(abs(means[0]), abs(means[1])), float(np.ptp(values))
    return Bound(
        samples=len(values), mean_right=means[0], mean_wrong=means[1], mu=mu, reach=reach, risk=risk,
        sign_error=float(missed.mean()), error_right=float(missed[~wrong].mean()),
        error_wrong=float(missed[wrong].mean()), by_range=hoeffding_bound(mu, reach), by_risk=hoeffding_bound(mu, risk),
    )  # fmt: skip


def perturbed_risk(
    steps: NDArray[np.float64], values: NDArray[np.float64], gaps: NDArray[np.float64], at: float
) -> float:
    """Return R(w) + [R(w + e) - R(w)] at the step nearest to `at` that has both a loss and a SAM gap (n,), NaN = none.

    One ascent step finds a point of the ball, not its highest: this is at most the maximum of Eq. 12.

    Raises:
        DataError: no step has both.
    """
    known = np.flatnonzero(np.isfinite(values) & np.isfinite(gaps))
    if not len(known):
        raise DataError("the tuning measured no SAM gap. Tune with `sharpness_every` > 0.")
    best = known[np.argmin(np.abs(steps[known] - at))]
    return float(values[best] + gaps[best])
