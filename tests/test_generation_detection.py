"""Eq. 23's ROC AUC and recall, by hand."""

from __future__ import annotations

import numpy as np
import pytest

from fvm_core.errors import DataError
from fvm_core.generation.detection import detection


def test_auc_and_recall_count_pairs_by_hand() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8], [0.5, 0.3], [0.4, 0.7]])
    found = detection(scores, ["a", "b", "a", "b"], ["a", "b"])
    # Column 0: a's have 0.9 and 0.5, b's 0.2 and 0.4: all right. Column 1: b's 0.8 and 0.7 over 0.1 and 0.3: all right.
    assert found.auc.tolist() == [1.0, 1.0] and found.recall.tolist() == [1.0, 1.0]
    turned = detection(np.array([[0.9], [0.6], [0.5], [0.4]]), ["a", "b", "a", "b"], ["a"])
    # Of the four (a, b) couples, a is higher in (0.9, 0.6), (0.9, 0.4), (0.5, 0.4); of the 2 highest, one is an a.
    assert turned.auc.tolist() == [0.75] and turned.recall.tolist() == [0.5]


def test_summary_is_mean_and_population_deviation_in_percent() -> None:
    scores = np.array([[0.9, 0.1], [0.2, 0.8]])
    summary = detection(scores, ["a", "b"], ["a", "a"]).summary()
    assert summary == {"auc_mean": 50.0, "auc_std": 50.0, "recall_mean": 50.0, "recall_std": 50.0}


def test_a_class_without_training_pairs_is_left_out() -> None:
    found = detection(np.array([[0.9, 0.1], [0.2, 0.8]]), ["a", "b"], ["a", "c"])
    assert found.auc[0] == 1.0 and np.isnan(found.auc[1]) and found.summary()["auc_mean"] == 100.0


def test_scores_that_do_not_fit_or_are_not_finite_are_refused() -> None:
    with pytest.raises(DataError, match=r"must be \(training pairs, validation pairs\) = \(2, 1\), got \(1, 2\)"):
        detection(np.zeros((1, 2)), ["a", "b"], ["a"])
    with pytest.raises(DataError, match=r"`scores` must be finite"):
        detection(np.array([[np.nan], [0.0]]), ["a", "b"], ["a"])
