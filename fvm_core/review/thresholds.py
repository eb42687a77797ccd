"""Where to cut a list of suspects: overall, class by class, or by the time there is; what each cut should bring."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from fvm_core.errors import ReviewError


@dataclass(frozen=True)
class Cut:
    """The `count` most suspicious samples, those with a suspicion of `threshold` or more.

    `precision`: the expected share of wrong labels among them; `recall`: the expected share of all wrong labels that is
    among them; `wrong`: the expected number of wrong labels in the whole list. All from the chances that were given.
    """

    count: int
    threshold: float
    precision: float
    recall: float
    wrong: float


def chances(posterior_scores: ArrayLike) -> NDArray[np.float64]:
    """Return P(given label is wrong) in [0, 1] from scores of the method `posterior`, -log P(given label is right).

    >>> chances([0.0, np.log(4.0)]).round(6).tolist()
    [0.0, 0.75]
    """
    return -np.expm1(-np.maximum(np.asarray(posterior_scores, dtype=np.float64), 0.0))


class Cuts:
    """All cuts of one list. `suspicion` and `chance` (n,), in any order; NaN suspicion comes last.

    Expected precision after k samples is the mean of their chances, expected recall the share of the sum of all.

    Raises:
        ReviewError: no sample, lengths that differ, or a chance outside [0, 1].
    """

    def __init__(self, suspicion: ArrayLike, chance: ArrayLike) -> None:
        given, p = np.asarray(suspicion, dtype=np.float64), np.asarray(chance, dtype=np.float64)
        if given.ndim != 1 or not len(given) or given.shape != p.shape:
            raise ReviewError(
                f"`suspicion` and `chance` must be (n,) with n >= 1, got {given.shape} and {p.shape}. Score again."
            )
        if not ((p >= 0) & (p <= 1)).all():
            raise ReviewError("`chance` must be in [0, 1] for every sample. Score again.")
        order = np.argsort(-given, kind="stable")
        self.suspicion, self.chance = given[order], p[order]
        self._sums = np.cumsum(self.chance)

    def by_budget(self, count: int) -> Cut:
        """Return the cut after the `count` most suspicious samples (all, if there are fewer).

        Raises:
            ReviewError: `count` < 1.
        """
        if count < 1:
            raise ReviewError(f"the budget must be >= 1 image, got {count}.")
        k = min(int(count), len(self.chance))
        total = float(self._sums[-1])
        found = float(self._sums[k - 1])
        return Cut(k, float(self.suspicion[k - 1]), found / k, found / total if total > 0 else 0.0, total)

    def by_precision(self, precision: float) -> Cut | None:
        """Return the longest cut with at least that expected precision, None where no cut reaches it."""
        counts = np.arange(1, len(self.chance) + 1)
        reached = np.flatnonzero(self._sums / counts >= precision)
        return self.by_budget(int(reached[-1]) + 1) if len(reached) else None

    def by_recall(self, recall: float) -> Cut:
        """Return the shortest cut with at least that expected recall."""
        total = float(self._sums[-1])
        k = int(np.searchsorted(self._sums, min(recall, 1.0) * total * (1 - 1e-12))) + 1
        return self.by_budget(min(k, len(self.chance)))

    def curve(self, points: int = 200) -> pd.DataFrame:
        """Return columns count, precision, recall at up to `points` counts from 1 to n, evenly spaced in the log."""
        n = len(self.chance)
        counts = np.unique(np.geomspace(1, n, num=min(points, n)).round().astype(np.int64))
        sums, total = self._sums[counts - 1], float(self._sums[-1])
        recall = sums / total if total > 0 else np.zeros(len(counts))
        return pd.DataFrame({"count": counts, "precision": sums / counts, "recall": recall})


def per_class(
    suspicion: ArrayLike, chance: ArrayLike, labels: ArrayLike, *, classes: int, precision: float
) -> pd.DataFrame:
    """Return one row a given label: label, samples, count, threshold, precision, recall, wrong (see Cut).

    Each class has its own cut, the longest with at least that expected precision; `count` 0 and NaN where none reaches
    it, so a class of good labels is left alone and a class of bad ones gets a long list.
    """
    given, p, y = np.asarray(suspicion, float), np.asarray(chance, float), np.asarray(labels, np.int64)
    rows = []
    for label in range(classes):
        own = y == label
        cut = Cuts(given[own], p[own]).by_precision(precision) if own.any() else None
        wrong = float(p[own].sum())
        nothing = (0, float("nan"), float("nan"), 0.0)
        found = (cut.count, cut.threshold, cut.precision, cut.recall) if cut else nothing
        rows.append((label, int(own.sum()), *found, wrong))
    return pd.DataFrame(rows, columns=["label", "samples", "count", "threshold", "precision", "recall", "wrong"])
