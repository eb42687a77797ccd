"""Order and filters of the gallery."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from fvm_core.errors import ReviewError
from fvm_core.review.queue import QueueFilter, queue

FRAME = pd.DataFrame(
    {
        "id": ["a1", "a2", "b1", "b2", "B3"],
        "label": [0, 1, 0, 1, 2],
        "suggested": [1, 1, 2, 0, -1],
        "score": [-5.0, -1.0, -9.0, -1.0, np.nan],
        "suspicion": [5.0, 1.0, 9.0, 1.0, np.nan],
    }
)
ACTIONS = {"b1": "accept", "a2": "skip"}


@pytest.mark.parametrize(
    ("wanted", "ids"),
    [
        (QueueFilter(state="all"), ["b1", "a1", "a2", "b2", "B3"]),
        (QueueFilter(), ["a1", "b2", "B3"]),
        (QueueFilter(state="skip"), ["a2"]),
        (QueueFilter(state="keep"), []),
        (QueueFilter(state="all", given=(0,)), ["b1", "a1"]),
        (QueueFilter(state="all", given=(0, 2), suggested=(1, -1)), ["a1", "B3"]),
        (QueueFilter(state="all", low=-5.0, high=-1.0), ["a1", "a2", "b2"]),
        (QueueFilter(state="all", top=2), ["b1", "a1"]),
        (QueueFilter(top=2), ["a1"]),
        (QueueFilter(state="all", search="b"), ["b1", "b2", "B3"]),
        (QueueFilter(state="all", search="[("), []),
    ],
)
def test_queue_keeps_what_is_wanted_in_order_of_suspicion(wanted: QueueFilter, ids: list[str]) -> None:
    assert FRAME["id"].iloc[queue(FRAME, wanted, ACTIONS)].tolist() == ids


def test_queue_is_stable_for_ties() -> None:
    frame = FRAME.assign(suspicion=1.0)
    assert queue(frame, QueueFilter(state="all"), {}).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"state": "odd"}, "`state` must be one of"),
        ({"top": 0}, "`top` must be >= 1"),
        ({"low": 2.0, "high": 1.0}, "`low` must be <= `high`"),
    ],
)
def test_filter_refuses(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ReviewError, match=message):
        QueueFilter(**wrong)  # type: ignore[arg-type]
