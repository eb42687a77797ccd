"""Eq. 23: does a validation pair's class speak for it? ROC AUC and recall, as in Tables 4 and 5. No torch here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from fvm_core.errors import DataError


@dataclass(frozen=True)
class Detection:
    """`auc`, `recall` (v,) in [0, 1], one for each validation pair; NaN where a class has no training pair or all."""

    auc: NDArray[np.float64]
    recall: NDArray[np.float64]

    def summary(self) -> dict[str, float]:
        """Return mean and standard deviation (population) of both over the validation pairs, in percent."""
        return {
            f"{name}_{word}": 100.0 * float(function(values))
            for name, values in (("auc", self.auc), ("recall", self.recall))
            for word, function in (("mean", np.nanmean), ("std", np.nanstd))
        }


def detection(scores: NDArray[np.floating], training: Sequence[str], validation: Sequence[str]) -> Detection:
    """Return how well `scores` (n, v) rank, for each validation pair, the training pairs of its class first.

    `training` (n,), `validation` (v,): names of the classes. A training pair counts as positive if its class is the
    validation pair's (Eq. 23). Recall: the share of the s highest-scored training pairs that are positive, s the number
    of positives. The score is ours, positive = speaks for: the paper sorts its own, with the other sign, upwards.

    Raises:
        DataError: numbers that do not fit together, or scores that are not finite.

    >>> detection(np.array([[2.0], [1.0], [0.5]]), ["a", "a", "b"], ["a"]).auc.tolist()
    [1.0]
    """
    if scores.shape != (len(training), len(validation)):
        raise DataError(
            f"`scores` must be (training pairs, validation pairs) = ({len(training)}, {len(validation)}), "
            f"got {scores.shape}. Score these pairs again."
        )
    if not np.isfinite(scores).all():
        raise DataError("`scores` must be finite, but some are not. Raise the damping and score again.")
    classes, auc, recall = np.asarray(training), [], []
    for place, name in enumerate(validation):
        positive, column = classes == name, scores[:, place]
        count = int(positive.sum())
        if count in (0, len(positive)):
            auc.append(np.nan)
            recall.append(np.nan)
            continue
        auc.append(float(roc_auc_score(positive, column)))
        recall.append(float(positive[np.argsort(-column, kind="stable")[:count]].mean()))
    return Detection(np.array(auc), np.array(recall))
