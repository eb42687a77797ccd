"""How well a score finds wrong labels, how right its suggestions are, and how far two scores agree."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import stats
from sklearn import metrics as sk

from fvm_core.errors import DataError
from fvm_core.influence.order import falling

Floats = NDArray[np.floating]


@dataclass(frozen=True)
class Curves:
    """ROC (`fpr`, `tpr`) and precision-recall (`recall`, `precision`), each (m,) in [0, 1], thinned for drawing."""

    fpr: NDArray[np.float64]
    tpr: NDArray[np.float64]
    recall: NDArray[np.float64]
    precision: NDArray[np.float64]


def _checked(suspicion: Floats, mislabeled: NDArray[np.bool_]) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    score, wrong = np.asarray(suspicion, dtype=np.float64), np.asarray(mislabeled, dtype=bool)
    if score.shape != wrong.shape or score.ndim != 1:
        raise DataError(f"`suspicion` and `mislabeled` must be of one length, got {score.shape} and {wrong.shape}.")
    if not np.isfinite(score).all():
        raise DataError(f"`suspicion` must be finite, got {int((~np.isfinite(score)).sum())} values that are not.")
    if wrong.all() or not wrong.any():
        raise DataError(
            f"`mislabeled` must hold both kinds for AUC and AP, got {int(wrong.sum())} of {len(wrong)} wrong labels. "
            "Use a dataset whose clean labels are known and differ somewhere."
        )
    return score, wrong


def auc_ap(suspicion: Floats, mislabeled: NDArray[np.bool_]) -> tuple[float, float]:
    """Return (ROC AUC, average precision) in [0, 1] of finding wrong labels; ties count as half in the AUC.

    Raises:
        DataError: lengths differ, a score is not finite, or only one kind of label is there.

    >>> auc_ap(np.array([0.1, 0.9, 0.4]), np.array([False, True, False]))
    (1.0, 1.0)
    """
    score, wrong = _checked(suspicion, mislabeled)
    return float(sk.roc_auc_score(wrong, score)), float(sk.average_precision_score(wrong, score))


@dataclass(frozen=True, eq=False)
class Ranked:
    """What one sort of a suspicion over samples of known truth tells; a few hundred bytes and a bit a sample.

    `auc`, `ap` in [0, 1]; `curves` thinned; `total` samples.
    """

    auc: float
    ap: float
    curves: Curves
    total: int
    bits: NDArray[np.uint8]

    def found(self, k: int) -> int:
        """Return how many wrong labels are among the `k` most suspicious (ties in the samples' order)."""
        return int(np.unpackbits(self.bits, count=min(k, self.total)).sum())


def ranked(suspicion: Floats, mislabeled: NDArray[np.bool_], *, points: int = 500) -> Ranked:
    """Return AUC, AP, both curves and the order of wrong labels from a single sort. O(n log n), no copy is kept.

    Equal to `auc_ap`, `curves` and `top`, which sort once each.

    Raises:
        DataError: as `auc_ap`.
    """
    score, wrong = _checked(suspicion, mislabeled)
    order = falling(score)
    hits, ordered = wrong[order], score[order]
    ends = np.append(np.flatnonzero(ordered[1:] != ordered[:-1]), len(score) - 1)
    true = np.cumsum(hits, dtype=np.int64)[ends]
    false = ends + 1 - true
    tpr, fpr = np.append(0, true / true[-1]), np.append(0, false / false[-1])
    precision = true / (ends + 1)
    return Ranked(
        auc=float(np.trapezoid(tpr, fpr)), ap=float(np.sum(np.diff(tpr) * precision)),
        curves=_thinned(fpr, tpr, precision, points), total=len(score), bits=np.packbits(hits),
    )  # fmt: skip


def curves(suspicion: Floats, mislabeled: NDArray[np.bool_], *, points: int = 500) -> Curves:
    """Return both curves at no more than about `points` places each; first and last are kept.

    All places are points of the full curves. Those of the ROC lie evenly along it, which keeps its area to within
    1 / (points - 1) (twice what a staircase between neighbours can hide); half of those of the precision-recall curve
    lie evenly in recall, half evenly in the logarithm of the rank, so that its jagged start stays.

    Raises:
        DataError: as `auc_ap`.
    """
    return ranked(suspicion, mislabeled, points=points).curves


def _thinned(fpr: NDArray[np.float64], tpr: NDArray[np.float64], precision: NDArray[np.float64], points: int) -> Curves:
    """Thin the full curves: `fpr`, `tpr` (m + 1,) begin at 0, `precision` (m,) belongs to tpr[1:]."""
    roc = _thin(fpr + tpr, points)
    rank = np.log(np.arange(1, len(tpr)))
    kept = np.arange(len(rank))
    if len(rank) > points:
        kept = np.union1d(_thin(tpr[1:], points // 2), _thin(rank, points // 2))
    recall, found = np.append(tpr[1:][kept][::-1], 0.0), np.append(precision[kept][::-1], 1.0)
    return Curves(fpr[roc], tpr[roc], recall, found)


def _thin(position: NDArray[np.float64], points: int) -> NDArray[np.intp]:
    """Return indices at about evenly spaced positions (ascending), first and last among them."""
    if len(position) <= points:
        return np.arange(len(position))
    wanted = np.linspace(position[0], position[-1], points)
    return np.unique(
        np.concatenate([np.searchsorted(position, wanted).clip(0, len(position) - 1), [len(position) - 1]])
    )


def relabel_accuracy(
    suggested: NDArray[np.integer], clean: NDArray[np.integer], mislabeled: NDArray[np.bool_] | None = None
) -> float:
    """Return the share in [0, 1] of suggestions that are the clean label; only over `mislabeled` rows if given.

    NaN when there is no row. A missing suggestion (-1) counts as wrong.
    """
    right = np.asarray(suggested) == np.asarray(clean)
    right = right if mislabeled is None else right[np.asarray(mislabeled, dtype=bool)]
    return float(right.mean()) if len(right) else float("nan")


def rank_correlation(one: Floats, other: Floats) -> float:
    """Return Spearman's rank correlation in [-1, 1] of two suspicions over the same samples; NaN if one is constant."""
    if len(one) < 2 or np.ptp(one) == 0 or np.ptp(other) == 0:
        return float("nan")
    return float(stats.spearmanr(one, other).statistic)


def ranks(suspicion: Floats) -> NDArray[np.float64]:
    """Return (n,) ranks in [0, 1]: 1 = most suspicious, ties share their mean.

    >>> ranks(np.array([3.0, 1.0, 2.0])).tolist()
    [1.0, 0.0, 0.5]
    """
    order = stats.rankdata(suspicion)
    return (order - 1) / max(1, len(order) - 1)


def top(suspicion: Floats, k: int) -> NDArray[np.intp]:
    """Return the indices of the k most suspicious samples, most suspicious first; ties in the samples' order."""
    return falling(suspicion)[:k]


def overlap_at_k(one: Floats, other: Floats, k: int) -> float:
    """Return the share in [0, 1] of samples that are among the `k` most suspicious of both.

    Raises:
        DataError: `k` outside 1 to n.
    """
    if not 1 <= k <= len(one):
        raise DataError(f"`k` must be between 1 and {len(one)}, got {k}.")
    return len(np.intersect1d(top(one, k), top(other, k))) / k


def disagreement(one: Floats, other: Floats, k: int) -> NDArray[np.intp]:
    """Return the indices of the `k` samples whose ranks differ most between two suspicions, largest first."""
    return top(np.abs(ranks(one) - ranks(other)), k)
