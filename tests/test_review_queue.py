"""Order and filters of the gallery."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from fvm_core.errors import ReviewError
from fvm_core.review.queue import QueueFilter, queue
from fvm_core.review.score_rows import ScoreRows, by_suspicion

FRAME = pd.DataFrame(
    {
        "id": ["a1", "a2", "b1", "b2", "B3"],
        "label": [0, 1, 0, 1, 2],
        "suggested": [1, 1, 2, 0, -1],
        "score": [-5.0, -1.0, -9.0, -1.0, np.nan],
        "suspicion": [5.0, 1.0, 9.0, 1.0, np.nan],
    }
)


def table(frame: pd.DataFrame) -> ScoreRows:
    return ScoreRows(
        rows=np.arange(len(frame), dtype=np.int32),
        labels=frame["label"].to_numpy(np.int32),
        suggested=frame["suggested"].to_numpy(np.int32),
        scores=frame["score"].to_numpy(float),
        order=by_suspicion(frame["suspicion"].to_numpy(float)),
        read_ids=lambda: pa.chunked_array([frame["id"].tolist()]),
    )


ACTIONS = {2: "accept", 1: "skip"}


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
        (QueueFilter(state="all", order="least"), ["B3", "b2", "a2", "a1", "b1"]),
        (QueueFilter(state="all", order="dataset", top=3), ["a1", "a2", "b1"]),
    ],
)
def test_queue_keeps_what_is_wanted_in_order_of_suspicion(wanted: QueueFilter, ids: list[str]) -> None:
    assert FRAME["id"].iloc[queue(table(FRAME), wanted, ACTIONS)].tolist() == ids


def test_queue_is_stable_for_ties() -> None:
    frame = FRAME.assign(suspicion=1.0)
    assert queue(table(frame), QueueFilter(state="all"), {}).tolist() == [0, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"state": "odd"}, "`state` must be one of"),
        ({"order": "odd"}, "`order` must be one of"),
        ({"top": 0}, "`top` must be >= 1"),
        ({"low": 2.0, "high": 1.0}, "`low` must be <= `high`"),
    ],
)
def test_filter_refuses(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ReviewError, match=message):
        QueueFilter(**wrong)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(5))
def test_queue_equals_a_plain_sorted_list(seed: int) -> None:
    random = np.random.default_rng(seed)
    n = 400
    frame = pd.DataFrame(
        {
            "id": [f"s{k:03d}" for k in random.permutation(n)],
            "label": random.integers(0, 4, n),
            "suggested": random.integers(-1, 4, n),
            "score": np.where(random.random(n) < 0.05, np.nan, random.normal(size=n).round(1)),
        }
    ).assign(suspicion=lambda table: -table["score"])
    actions = {int(k): ("accept", "skip")[k % 2] for k in random.choice(n, 60, replace=False)}
    wanted = QueueFilter(given=(0, 2), suggested=(1, -1), low=-1.5, high=2.0, search="S1", top=300)
    rows = frame.to_dict("records")
    ordered = sorted(range(n), key=lambda k: (np.isnan(rows[k]["suspicion"]), -rows[k]["suspicion"], k))[:300]
    expected = [
        k for k in ordered
        if rows[k]["label"] in (0, 2) and rows[k]["suggested"] in (1, -1) and -1.5 <= rows[k]["score"] <= 2
        and "s1" in rows[k]["id"] and k not in actions
    ]  # fmt: skip
    assert expected and queue(table(frame), wanted, actions).tolist() == expected
