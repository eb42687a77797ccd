"""Which samples a reviewer sees, and in which order."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fvm_core.errors import ReviewError

FILTER_STATES = ("undecided", "all", "accept", "keep", "pick", "skip")


@dataclass(frozen=True, kw_only=True)
class QueueFilter:
    """Only samples that meet every condition. Empty tuples and None do not restrict.

    `given`, `suggested`: labels. `state`: one of FILTER_STATES. `low`, `high`: the method's own score, both ends in.
    `top`: the k most suspicious of the whole run (before the other conditions). `search`: part of an id, any case.
    """

    given: tuple[int, ...] = ()
    suggested: tuple[int, ...] = ()
    state: str = "undecided"
    low: float | None = None
    high: float | None = None
    top: int | None = None
    search: str = ""

    def __post_init__(self) -> None:
        if self.state not in FILTER_STATES:
            raise ReviewError(f"`state` must be one of {FILTER_STATES}, got {self.state!r}.")
        if self.top is not None and self.top < 1:
            raise ReviewError(f"`top` must be >= 1, got {self.top!r}.")
        if self.low is not None and self.high is not None and self.low > self.high:
            raise ReviewError(f"`low` must be <= `high`, got {self.low!r} and {self.high!r}. Swap them.")


def queue(frame: pd.DataFrame, wanted: QueueFilter, actions: Mapping[str, str]) -> NDArray[np.int64]:
    """Return positions into `frame`, most suspicious first (ties in the order of the file, NaN last).

    `frame` has the columns id, label, suggested, score, suspicion of a score file; `actions` tells the action that
    holds for each decided id. O(n log n).
    """
    order = np.argsort(-frame["suspicion"].to_numpy(np.float64), kind="stable")
    if wanted.top is not None:
        order = order[: wanted.top]
    kept = np.ones(len(frame), dtype=bool)
    for column, labels in (("label", wanted.given), ("suggested", wanted.suggested)):
        if labels:
            kept &= np.isin(frame[column].to_numpy(), labels)
    score = frame["score"].to_numpy(np.float64)
    if wanted.low is not None:
        kept &= score >= wanted.low
    if wanted.high is not None:
        kept &= score <= wanted.high
    if wanted.search:
        kept &= frame["id"].astype(str).str.contains(wanted.search, case=False, regex=False).to_numpy(bool)
    if wanted.state == "undecided":
        kept &= ~frame["id"].isin(list(actions)).to_numpy()
    elif wanted.state != "all":
        kept &= frame["id"].isin([sample for sample, action in actions.items() if action == wanted.state]).to_numpy()
    return order[kept[order]].astype(np.int64)
