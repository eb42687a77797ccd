"""Rank correlation and overlap@k of many methods at once, against the pairwise functions and scipy."""

from __future__ import annotations

import numpy as np
import pytest
from invented_scores import invent, write_run
from scipy.stats import spearmanr

from fvm_core.influence.metrics import overlap_at_k
from fvm_core.workspace import Workspace
from pages.ui.agreement import correlation, overlap_curve, overlaps, places, steps_of_k
from pages.ui.comparison import values
from pages.ui.score_sets import score_files
from pages.ui.tab_disagreement import most_apart


def test_correlation_equals_spearman(workspace: Workspace) -> None:
    write_run(workspace, "a", invent(200), methods=["influence", "loss", "standard"])
    files = score_files(workspace)
    matrix = correlation(files)
    for one in files:
        for other in files:
            expected = spearmanr(values(files, one, "suspicion"), values(files, other, "suspicion")).statistic
            assert matrix.loc[one.label, other.label] == pytest.approx(expected, abs=1e-12)


@pytest.mark.parametrize("tied", [False, True])
def test_overlap_curve_equals_overlap_at_every_k(tied: bool) -> None:
    random = np.random.default_rng(1)
    one, other = random.normal(size=(2, 97))
    if tied:
        one, other = np.round(one), np.round(other)
    ks = list(range(1, 98))
    expected = [overlap_at_k(one, other, k) for k in ks]
    assert np.allclose(overlap_curve(places(one), places(other), ks), expected)


def test_overlaps_leave_the_reference_out_and_end_at_one(workspace: Workspace) -> None:
    write_run(workspace, "a", invent(200), methods=["influence", "loss", "margin"])
    files = score_files(workspace)
    frame = overlaps(files, 1)
    assert set(frame["method"]) == {files[0].label, files[2].label}
    assert (frame[frame["k"] == 200]["overlap"] == 1).all()


@pytest.mark.parametrize("total", [1, 2, 9, 100, 50_000])
def test_steps_of_k_are_whole_rising_and_end_at_all(total: int) -> None:
    ks = steps_of_k(total)
    assert ks[-1] == total and ks[0] >= 1 and ks == sorted(set(ks))


def test_most_apart_obeys_direction_and_filter() -> None:
    first, second = np.array([90.0, 10.0, 50.0, 80.0]), np.array([10.0, 95.0, 50.0, 70.0])
    everyone = np.ones(4, bool)
    assert most_apart(first, second, "both", everyone).tolist() == [1, 0, 3]
    assert most_apart(first, second, "first", everyone).tolist() == [0, 3]
    assert most_apart(first, second, "second", everyone).tolist() == [1]
    assert most_apart(first, second, "both", np.array([False, True, True, True]), most=1).tolist() == [1]


@pytest.mark.parametrize("direction", ["both", "first", "second"])
def test_most_apart_equals_a_full_sort_with_ties_in_their_order(direction: str) -> None:
    random = np.random.default_rng(3)
    first, second = random.integers(0, 30, (2, 500)).astype(np.int32)
    chosen = random.random(500) < 0.7
    gap = {"both": np.abs(first - second), "first": first - second, "second": second - first}[direction]
    wanted = sorted((k for k in range(500) if chosen[k] and gap[k] > 0), key=lambda k: -gap[k])[:60]
    assert most_apart(first, second, direction, chosen, most=60).tolist() == wanted
