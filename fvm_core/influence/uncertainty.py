"""How far a measured AUC, AP or accuracy may be off by chance: closed forms, so that no sentence rests on noise."""

from __future__ import annotations

import math


def auc_standard_error(auc: float, *, wrong: int, clean: int) -> float:
    """Return the standard error of a ROC AUC in [0, 1] from `wrong` mislabeled and `clean` other samples.

    Hanley and McNeil 1982, Eq. 1, with Q1 = A / (2 - A) and Q2 = 2 A^2 / (1 + A). NaN if one kind is missing.

    >>> round(auc_standard_error(0.9, wrong=50, clean=50), 4)
    0.0321
    """
    if wrong < 1 or clean < 1 or math.isnan(auc):
        return float("nan")
    both_wrong, both_clean = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    spread = auc * (1 - auc) + (wrong - 1) * (both_wrong - auc**2) + (clean - 1) * (both_clean - auc**2)
    return math.sqrt(max(spread, 0.0) / (wrong * clean))


def share_standard_error(share: float, *, n: int) -> float:
    """Return the binomial standard error of a share in [0, 1] of `n` samples: accuracies, and for AP the usual
    approximation with n = number of mislabeled samples (Boyd et al. 2013). NaN for n < 1.

    >>> share_standard_error(0.5, n=100)
    0.05
    """
    if n < 1 or math.isnan(share):
        return float("nan")
    return math.sqrt(share * (1 - share) / n)
