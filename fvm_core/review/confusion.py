"""Which classes are taken for which, by what the flags, a posterior or the known truth say. No torch here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvm_core.errors import DataError

Labels = NDArray[np.int64]


@dataclass(frozen=True)
class Confusion:
    """`counts` (c, c) float64, >= 0: images whose class is the row and whose given label is the column; expected
    numbers where they come from chances."""

    counts: NDArray[np.float64]

    @property
    def transition(self) -> NDArray[np.float64]:
        """Return (c, c): share of each class (row) that is given each label; a class without images keeps zeros."""
        total = self.counts.sum(1, keepdims=True)
        return np.divide(self.counts, total, out=np.zeros_like(self.counts), where=total > 0)

    @property
    def wrong(self) -> NDArray[np.float64]:
        """Return (c,): share of the images given each label that are of another class; NaN for a label never given."""
        given = self.counts.sum(0)
        right = np.diag(self.counts)
        return np.divide(given - right, given, out=np.full(len(given), np.nan), where=given > 0)

    @property
    def noise(self) -> float:
        """Return the share of all images whose label is wrong."""
        return 1 - float(np.trace(self.counts) / max(self.counts.sum(), 1e-300))

    def distance(self, other: Confusion) -> float:
        """Return the mean absolute difference of the two transition matrices over the classes that both have, 0 to 1:
        half of what one would have to move in each row."""
        both = (self.counts.sum(1) > 0) & (other.counts.sum(1) > 0)
        gap = np.abs(self.transition - other.transition)[both].sum(1) / 2
        return float(gap.mean()) if both.any() else float("nan")


def by_flags(given: Labels, suggested: Labels, flagged: NDArray[np.bool_], classes: int) -> Confusion:
    """Count as if each flagged image were of its suggested class, and every other of its given one.

    A flagged image without a suggestion (-1), or whose suggestion is its label, counts as right.
    """
    true = np.where(flagged & (suggested >= 0), suggested, given)
    return _counted(true, given, classes)


def by_truth(truth: Labels, given: Labels, classes: int) -> Confusion:
    """Count the images whose class is known (`truth` >= 0)."""
    known = truth >= 0
    return _counted(truth[known], given[known], classes)


def by_chance(chances: NDArray[np.float64], given: Labels) -> Confusion:
    """Count with `chances` (n, c), the posterior of each image's class: the step of expectation maximisation that made
    the transition matrix (without its smoothing), over all images."""
    counts = np.zeros((chances.shape[1], chances.shape[1]))
    np.add.at(counts.T, given, chances)
    return Confusion(counts)


def posterior_chances(path: Path | str) -> NDArray[np.float64]:
    """Return (n, c) chances from a score file of the method `posterior`, whose label scores are -log of them; rows sum
    to 1.

    Raises:
        DataError: the file is damaged, or has no score for each label.
    """
    try:
        column = pq.read_table(path, columns=["label_scores"])["label_scores"].combine_chunks()
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
    if column.null_count or not len(column):
        raise DataError(f"score file `{path}` has no score for each label. Score the dataset with the posterior again.")
    surprise = column.flatten().to_numpy(zero_copy_only=False).astype(np.float64).reshape(len(column), -1)
    chances = np.exp(-surprise)
    return chances / chances.sum(1, keepdims=True)


def confused_pairs(confusion: Confusion, *, most: int) -> pd.DataFrame:
    """Return the `most` pairs with the largest counts off the diagonal: columns true, given, count, and share, the part
    of the class (0 to 1) that is given this label. Pairs that never happen are left out."""
    counts = confusion.counts.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    true, given = np.unravel_index(order, counts.shape)
    frame = pd.DataFrame(
        {"true": true, "given": given, "count": counts[true, given], "share": confusion.transition[true, given]}
    )
    return frame[frame["count"] > 0].reset_index(drop=True)


def _counted(true: Labels, given: Labels, classes: int) -> Confusion:
    counts = np.zeros((classes, classes))
    np.add.at(counts, (true, given), 1)
    return Confusion(counts)
