"""Cuts of a list of suspects against a plain count."""

from __future__ import annotations

import numpy as np
import pytest

from fvm_core.errors import ReviewError
from fvm_core.review.thresholds import Cuts, chances, per_class


@pytest.fixture
def listed() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    p = rng.beta(0.5, 1.0, 300)
    return p + 0.3 * rng.normal(size=300), p


def plain(suspicion: np.ndarray, p: np.ndarray, k: int) -> tuple[float, float]:
    """Expected precision and recall of the k most suspicious, by sorting pairs."""
    top = [chance for _, chance in sorted(zip(suspicion, p, strict=True), key=lambda pair: -pair[0])[:k]]
    return sum(top) / k, sum(top) / p.sum()


@pytest.mark.parametrize("k", [1, 17, 300])
def test_a_budget_brings_the_mean_chance_of_its_samples(listed: tuple[np.ndarray, np.ndarray], k: int) -> None:
    suspicion, p = listed
    cut = Cuts(suspicion, p).by_budget(k)
    assert (cut.precision, cut.recall) == pytest.approx(plain(suspicion, p, k))
    assert cut.count == k == (suspicion >= cut.threshold).sum() and cut.wrong == pytest.approx(p.sum())
    assert Cuts(suspicion, p).by_budget(10_000).count == 300


def test_by_precision_is_the_longest_and_by_recall_the_shortest_cut(listed: tuple[np.ndarray, np.ndarray]) -> None:
    suspicion, p = listed
    cuts = Cuts(suspicion, p)
    found = cuts.by_precision(0.6)
    assert found is not None
    reached = [k for k in range(1, 301) if plain(suspicion, p, k)[0] >= 0.6]
    assert found.count == max(reached)
    assert cuts.by_recall(0.5).count == min(k for k in range(1, 301) if plain(suspicion, p, k)[1] >= 0.5)
    assert cuts.by_recall(1.0).count == 300 and cuts.by_precision(1.0) is None


def test_expected_precision_is_what_labels_drawn_by_the_chances_give(listed: tuple[np.ndarray, np.ndarray]) -> None:
    suspicion, p = listed
    wrong = np.random.default_rng(1).random((4000, 300)) < p
    top = np.argsort(-suspicion)[:50]
    assert Cuts(suspicion, p).by_budget(50).precision == pytest.approx(wrong[:, top].mean(), abs=0.005)


def test_classes_get_cuts_of_their_own() -> None:
    suspicion = np.array([5.0, 4.0, 3.0, 2.0, 1.0, 0.0])
    p = np.array([0.9, 0.1, 0.8, 0.1, 0.7, 0.1])
    table = per_class(suspicion, p, [0, 1, 0, 1, 0, 1], classes=3, precision=0.75)
    assert table["count"].tolist() == [3, 0, 0] and table["samples"].tolist() == [3, 3, 0]
    assert table["threshold"][0] == 1.0 and np.isnan(table["threshold"][1])
    assert table["wrong"].tolist() == pytest.approx([2.4, 0.3, 0.0]) and table["recall"].tolist() == [1.0, 0.0, 0.0]


def test_the_curve_runs_from_one_sample_to_all(listed: tuple[np.ndarray, np.ndarray]) -> None:
    curve = Cuts(*listed).curve(50)
    assert curve["count"].iloc[[0, -1]].tolist() == [1, 300] and len(curve) <= 50
    assert curve["recall"].is_monotonic_increasing and curve["recall"].iloc[-1] == pytest.approx(1.0)
    row = curve.iloc[10]
    assert (row["precision"], row["recall"]) == pytest.approx(plain(*listed, int(row["count"])))


def test_chances_of_the_posterior() -> None:
    q = np.array([1.0, 0.25, 1e-9])
    assert chances(-np.log(q)) == pytest.approx(1 - q, abs=1e-12)


def test_nan_suspicion_comes_last_and_bad_input_is_refused() -> None:
    assert Cuts([np.nan, 1.0], [1.0, 0.5]).by_budget(1).precision == 0.5
    with pytest.raises(ReviewError, match=r"must be \(n,\) with n >= 1, got \(2,\) and \(1,\)"):
        Cuts([1.0, 2.0], [0.5])
    with pytest.raises(ReviewError, match=r"`chance` must be in \[0, 1\]"):
        Cuts([1.0], [1.5])
    with pytest.raises(ReviewError, match="the budget must be >= 1 image, got 0"):
        Cuts([1.0], [0.5]).by_budget(0)
    assert Cuts([1.0, 0.5], [0.0, 0.0]).by_budget(1).recall == 0.0
