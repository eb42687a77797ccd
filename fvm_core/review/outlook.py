"""From a score list and the decisions on it to what `yield_meter` and `thresholds` need: both in order of rank."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

from fvm_core.influence.order import falling
from fvm_core.review.decision import Decision
from fvm_core.review.yield_meter import RIGHT, SKIPPED, UNSEEN, WRONG


def ranking(suspicion: ArrayLike) -> NDArray[np.int64]:
    """Return positions, the most suspicious first: ties in the order of the file, NaN last, as in the review's queue.

    >>> ranking([0.5, float("nan"), 2.0, 0.5]).tolist()
    [2, 0, 3, 1]
    """
    return falling(suspicion)


def verdict(decision: Decision) -> int:
    """Return WRONG when the decision gave another label than the given one, RIGHT when it let it stand, or SKIPPED."""
    if decision.action == "skip":
        return SKIPPED
    return WRONG if decision.label != decision.given else RIGHT


def verdicts(n: int, positions: Mapping[str, int], decisions: Mapping[str, Decision]) -> NDArray[np.int8]:
    """Return (n,) the verdict on each position of a score list, UNSEEN where there is none.

    `decisions` hold, by id; `positions` tells where an id stands in the list (ids that are not in it are left out).
    """
    out = np.full(n, UNSEEN, dtype=np.int8)
    for sample, decision in decisions.items():
        place = positions.get(sample, -1)
        if place >= 0:
            out[place] = verdict(decision)
    return out


def aligned(
    rows: NDArray[np.int64], other_rows: NDArray[np.int64], values: NDArray[np.float64]
) -> NDArray[np.float64] | None:
    """Return `values` of one list in the order of another; both name the rows of one dataset. None where a row lacks.

    >>> aligned(np.array([5, 2]), np.array([2, 5, 7]), np.array([0.2, 0.5, 0.7])).tolist()
    [0.5, 0.2]
    """
    if np.array_equal(rows, other_rows):
        return values
    order = np.argsort(other_rows, kind="stable")
    place = np.searchsorted(other_rows[order], rows)
    if not len(other_rows) or (place >= len(other_rows)).any():
        return None
    found = order[place]
    return values[found] if (other_rows[found] == rows).all() else None
