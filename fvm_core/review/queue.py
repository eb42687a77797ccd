"""Which samples a reviewer sees, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvm_core.errors import ReviewError
from fvm_core.review.score_rows import ScoreRows

ORDERS = ("most", "least", "dataset")
FILTER_STATES = ("undecided", "all", "accept", "keep", "pick", "skip")


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Only samples that meet every condition. Empty tuples and None do not restrict.

    `given`, `suggested`: labels. `state`: one of FILTER_STATES. `low`, `high`: the method's own score, both ends in.
    `top`: the k most suspicious of the whole run (before the other conditions). `search`: part of an id, any case.
    `ids`: only these samples, such as those picked on the map. `order`: most or least suspicious first, or as in the
    dataset.
    """

    given: tuple[int, ...] = ()
    suggested: tuple[int, ...] = ()
    state: str = "undecided"
    low: float | None = None
    high: float | None = None
    top: int | None = None
    search: str = ""
    ids: tuple[str, ...] = ()
    order: str = "most"

    def __post_init__(self) -> None:
        if self.state not in FILTER_STATES:
            raise ReviewError(f"`state` must be one of {FILTER_STATES}, got {self.state!r}.")
        if self.order not in ORDERS:
            raise ReviewError(f"`order` must be one of {ORDERS}, got {self.order!r}.")
        if self.top is not None and self.top < 1:
            raise ReviewError(f"`top` must be >= 1, got {self.top!r}.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ReviewError(f"`low` must be <= `high`, got {self.low!r} and {self.high!r}. Swap them.")


def queue(table: ScoreRows, wanted: QueueFilter, actions: Mapping[int, str]) -> NDArray[np.int32]:
    """Return positions into `table` in the order asked for.

    `actions` tells the action that holds for each decided position. O(n); the table is sorted already.
    """
    order = table.order if wanted.top is None else table.order[: wanted.top]
    kept = np.ones(len(table), dtype=bool)
    for column, labels in ((table.labels, wanted.given), (table.suggested, wanted.suggested)):
        if labels:
            kept &= np.isin(column, labels)
    if wanted.low is not None:
        kept &= table.scores >= wanted.low
    if wanted.high is not None:
        kept &= table.scores <= wanted.high
    if wanted.search:
        kept &= table.containing(wanted.search)
    if wanted.ids:
        kept &= table.among(wanted.ids)
    if wanted.state == "undecided":
        kept[list(actions)] = False
    elif wanted.state != "all":
        held = np.zeros(len(table), dtype=bool)
        held[[position for position, action in actions.items() if action == wanted.state]] = True
        kept &= held
    if wanted.order == "least":
        order = order[::-1]
    elif wanted.order == "dataset":
        order = np.sort(order)
    return order[kept[order]]
