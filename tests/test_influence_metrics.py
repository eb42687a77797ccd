"""Metrics against sklearn, scipy and counting by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import spearmanr
from sklearn.metrics import auc, average_precision_score, precision_recall_curve, roc_auc_score, roc_curve

from fvm_core.errors import DataError
from fvm_core.influence.metrics import (
    auc_ap,
    curves,
    disagreement,
    overlap_at_k,
    rank_correlation,
    ranked,
    ranks,
    relabel_accuracy,
    top,
)

RNG = np.random.default_rng(0)
WRONG = RNG.random(3000) < 0.3
SUSPICION = np.round(RNG.normal(size=3000) + WRONG, 2)


def test_auc_and_ap_equal_counting_pairs_and_sklearn() -> None:
    found, ap = auc_ap(SUSPICION, WRONG)
    pairs = SUSPICION[WRONG][:, None] - SUSPICION[~WRONG][None, :]
    assert found == pytest.approx(((pairs > 0) + 0.5 * (pairs == 0)).mean())
    assert found == pytest.approx(roc_auc_score(WRONG, SUSPICION))
    assert ap == pytest.approx(average_precision_score(WRONG, SUSPICION))
    assert auc_ap(-SUSPICION, WRONG)[0] == pytest.approx(1 - found)


def test_thinned_curves_keep_ends_and_area() -> None:
    found = curves(SUSPICION, WRONG, points=200)
    fpr, tpr, _ = roc_curve(WRONG, SUSPICION)
    assert len(found.fpr) <= 201 and len(found.recall) <= 201
    assert (found.fpr[0], found.tpr[0], found.fpr[-1], found.tpr[-1]) == (0, 0, 1, 1)
    assert auc(found.fpr, found.tpr) == pytest.approx(auc(fpr, tpr), abs=2e-3)
    precision, recall, _ = precision_recall_curve(WRONG, SUSPICION)
    points = set(zip(recall.tolist(), precision.tolist(), strict=True))
    assert set(zip(found.recall.tolist(), found.precision.tolist(), strict=True)) <= points
    assert (found.recall[0], found.precision[-1]) == (1, 1)


def test_few_points_are_not_thinned() -> None:
    found = curves(np.array([3.0, 2.0, 1.0]), np.array([True, False, True]))
    assert found.tpr.tolist() == [0, 0.5, 0.5, 1] and found.fpr.tolist() == [0, 0, 1, 1]


def test_rank_correlation_is_spearmans() -> None:
    other = SUSPICION + RNG.normal(size=3000)
    assert rank_correlation(SUSPICION, other) == pytest.approx(spearmanr(SUSPICION, other).statistic)
    assert rank_correlation(SUSPICION, np.exp(SUSPICION)) == pytest.approx(1)
    assert np.isnan(rank_correlation(SUSPICION, np.zeros(3000)))


def test_overlap_and_top_by_hand() -> None:
    one, other = np.array([5.0, 4, 3, 2, 1]), np.array([5.0, 1, 4, 2, 3])
    assert top(one, 2).tolist() == [0, 1] and top(np.array([1.0, 2, 2]), 2).tolist() == [1, 2]
    assert overlap_at_k(one, other, 2) == 0.5 and overlap_at_k(one, other, 5) == 1
    with pytest.raises(DataError, match="`k` must be between 1 and 5, got 6"):
        overlap_at_k(one, other, 6)


def test_disagreement_finds_the_largest_gap_in_rank() -> None:
    one, other = np.array([1.0, 2, 3, 4, 5]), np.array([100.0, 2, 3, 4, 5])
    assert disagreement(one, other, 1).tolist() == [0]
    assert ranks(np.array([1.0, 1, 5])).tolist() == [0.25, 0.25, 1.0]


def test_relabel_accuracy_over_all_and_over_wrong_labels() -> None:
    suggested, clean = np.array([1, 2, 0, -1]), np.array([1, 0, 0, 3])
    assert relabel_accuracy(suggested, clean) == 0.5
    assert relabel_accuracy(suggested, clean, np.array([True, True, False, False])) == 0.5
    assert relabel_accuracy(suggested, clean, np.array([True, False, False, False])) == 1
    assert np.isnan(relabel_accuracy(suggested, clean, np.zeros(4, bool)))


@pytest.mark.parametrize(
    ("suspicion", "wrong", "message"),
    [
        (np.zeros(3), np.zeros(2, bool), "must be of one length"),
        (np.array([0.0, np.nan]), np.array([True, False]), "`suspicion` must be finite, got 1 values"),
        (np.zeros(2), np.zeros(2, bool), "`mislabeled` must hold both kinds"),
        (np.zeros(2), np.ones(2, bool), "got 2 of 2 wrong labels"),
    ],
)
def test_what_cannot_be_measured_is_said(suspicion: np.ndarray, wrong: np.ndarray, message: str) -> None:
    for measure in (auc_ap, curves):
        with pytest.raises(DataError, match=message):
            measure(suspicion, wrong)


@pytest.mark.parametrize("seed", [0, 1])
def test_one_sort_tells_what_sklearn_and_top_tell(seed: int) -> None:
    random = np.random.default_rng(seed)
    wrong = random.random(20_000) < 0.1
    suspicion = (random.normal(size=20_000) + wrong).round(3)
    found = ranked(suspicion, wrong)
    assert found.auc == pytest.approx(roc_auc_score(wrong, suspicion), abs=1e-12)
    assert found.ap == pytest.approx(average_precision_score(wrong, suspicion), abs=1e-12)
    assert [found.found(k) for k in (1, 77, 20_000, 10**9)] == [
        wrong[top(suspicion, k)].sum() for k in (1, 77, 20_000, 20_000)
    ]


@pytest.mark.parametrize("points", [50, 300])
def test_downsampled_curves_keep_area_ends_and_the_first_ranks(points: int) -> None:
    random = np.random.default_rng(2)
    wrong = random.random(200_000) < 0.3
    suspicion = random.normal(size=200_000) + 1.5 * wrong
    found = curves(suspicion, wrong, points=points)
    fpr, tpr, _ = roc_curve(wrong, suspicion)
    assert len(found.fpr) <= points + 1 and len(found.recall) <= points + 2
    assert auc(found.fpr, found.tpr) == pytest.approx(auc(fpr, tpr), abs=1 / (points - 1))
    precision, recall, _ = precision_recall_curve(wrong, suspicion)
    assert auc(found.recall, found.precision) == pytest.approx(auc(recall, precision), abs=5 / points**2 + 1e-4)
    jagged = np.interp(recall[-50:-1], found.recall[::-1], found.precision[::-1])
    assert np.abs(jagged - precision[-50:-1]).max() < 0.35, "an even spacing in rank would skip all of these"
