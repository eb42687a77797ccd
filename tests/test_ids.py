"""Ids by binary search against a plain dictionary; sorted ids are known to be unique without sorting."""

from __future__ import annotations

import numpy as np
import pytest

from fvm_core.data.ids import IdIndex, check_unique, row_ids
from fvm_core.errors import DataError


@pytest.mark.parametrize("shuffled", [False, True])
def test_index_equals_a_dictionary(shuffled: bool) -> None:
    ids = row_ids("train", 3000)
    if shuffled:
        ids = np.random.default_rng(0).permutation(ids)
    known = {one: row for row, one in enumerate(ids.tolist())}
    wanted = ["train-00007", "", "train-2", "zebra", "a", "train-00007-longer-than-any", "train-02999", "träin-00001"]
    assert IdIndex(ids).find(wanted).tolist() == [known.get(one, -1) for one in wanted]
    assert IdIndex(ids).row("train-00100") == known["train-00100"] and IdIndex(ids).row("none") is None
    assert IdIndex(ids).find([]).tolist() == []


def test_row_ids_of_more_than_one_piece() -> None:
    ids = row_ids("a", 150_000)
    assert ids[[0, 65_535, 65_536, 149_999]].tolist() == ["a-000000", "a-065535", "a-065536", "a-149999"]


def test_repeats_are_found_in_any_order() -> None:
    check_unique(np.array(["b", "a", "c"]))
    with pytest.raises(DataError, match=r"got 'b' in rows 0 and 2 \(1 repeats"):
        check_unique(np.array(["b", "a", "b"]))
