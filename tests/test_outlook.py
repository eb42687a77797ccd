"""Decisions and chances in the order of a list."""

from __future__ import annotations

import numpy as np

from fvm_core.review.decision import Decision
from fvm_core.review.outlook import aligned, ranking, verdict, verdicts
from fvm_core.review.yield_meter import RIGHT, SKIPPED, UNSEEN, WRONG


def decision(sample: str, action: str, label: int, given: int = 3) -> Decision:
    return Decision(
        client="t", seq=1, sample=sample, action=action, label=label, given=given, number=1, undoes=None,
        reviewer="Ada", decided_at="2026-01-01T00:00:00.000+00:00",
    )  # fmt: skip


def test_a_changed_label_is_a_wrong_one_whatever_the_key() -> None:
    assert verdict(decision("a", "accept", 5)) == WRONG == verdict(decision("a", "pick", 1))
    assert verdict(decision("a", "keep", 3)) == RIGHT == verdict(decision("a", "pick", 3))
    assert verdict(decision("a", "accept", 3)) == RIGHT and verdict(decision("a", "skip", 3)) == SKIPPED


def test_decisions_find_their_place_and_strangers_none() -> None:
    made = {"b": decision("b", "accept", 1), "z": decision("z", "accept", 1), "c": decision("c", "keep", 3)}
    assert verdicts(3, {"a": 0, "b": 1, "c": 2, "z": -1}, made).tolist() == [UNSEEN, WRONG, RIGHT]


def test_ranking_is_that_of_a_plain_sort() -> None:
    rng = np.random.default_rng(0)
    suspicion = rng.integers(0, 20, 200).astype(float)
    assert ranking(suspicion).tolist() == sorted(range(200), key=lambda place: -suspicion[place])


def test_values_of_another_list_follow_the_rows() -> None:
    rng = np.random.default_rng(0)
    other, values = rng.permutation(50), rng.normal(size=50)
    rows = rng.permutation(other)[:20]
    by_row = dict(zip(other.tolist(), values.tolist(), strict=True))
    found = aligned(rows, other, values)
    assert found is not None and found.tolist() == [by_row[row] for row in rows.tolist()]
    assert aligned(np.array([99]), other, values) is None and aligned(rows, other[:0], values[:0]) is None
    assert aligned(np.array([0, 51]), np.arange(0, 100, 2), np.ones(50)) is None
