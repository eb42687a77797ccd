"""Theorem 3.2's numbers by hand, by simulation where the theorem speaks, and Fig. 3b's histograms."""

from __future__ import annotations

import math

import numpy as np
import pandas as pd
import pytest

from fvm_core.errors import DataError, SettingsError
from fvm_core.learn.bound import bound_of, hoeffding_bound, perturbed_risk, sample_term
from fvm_core.learn.fading import fading

# Right labels: 0.5, 0.1, -0.2, 0 (mean 0.1); wrong ones: -0.3, 0.1 (mean -0.1). Signs missed: -0.2, 0 and the last 0.1.
INFLUENCE = np.array([0.5, 0.1, -0.2, 0.0, -0.3, 0.1])
WRONG = np.array([False, False, False, False, True, True])


def test_bound_by_hand() -> None:
    found = bound_of(INFLUENCE, WRONG, risk=0.4)
    assert found.mean_right == pytest.approx(0.1) and found.mean_wrong == pytest.approx(-0.1) and found.holds
    assert found.mu == pytest.approx(0.1) and found.reach == pytest.approx(0.8) and found.samples == 6
    assert found.sign_error == pytest.approx(3 / 6)
    assert found.error_right == pytest.approx(2 / 4) and found.error_wrong == pytest.approx(1 / 2)
    assert found.by_risk == pytest.approx(math.exp(-2 * 0.01 / 0.16))  # 0.8825
    assert found.by_range == pytest.approx(math.exp(-2 * 0.01 / 0.64))  # 0.9692
    assert round(found.by_risk, 4) == 0.8825 and round(found.by_range, 4) == 0.9692


def test_a_smaller_epsilon_leaves_the_range_form_and_lifts_the_other() -> None:
    whole, small = (bound_of(INFLUENCE, WRONG, risk=0.4, epsilon=epsilon) for epsilon in (1.0, 1 / 6))
    assert small.by_range == pytest.approx(whole.by_range) and small.sign_error == whole.sign_error
    assert small.mu == pytest.approx(whole.mu / 6)
    assert small.by_risk == pytest.approx(math.exp(-2 * (0.1 / 6) ** 2 / 0.16)) and small.by_risk > whole.by_risk


def test_scores_of_one_sign_break_the_assumption() -> None:
    found = bound_of(np.abs(INFLUENCE) + 0.1, WRONG, risk=1.0)
    assert not found.holds and found.error_wrong == 1 and found.error_right == 0


def test_the_range_form_is_never_below_the_root_of_1_over_e_and_eq_11_only_outside_eq_39() -> None:
    rng = np.random.default_rng(3)
    seen = [0, 0]
    for _ in range(300):
        wrong = rng.random(8) < 0.5
        wrong[:2] = True, False
        values = rng.normal(size=8) + np.where(wrong, -1, 1) * rng.uniform(0, 4)
        found = bound_of(values, wrong, risk=float(rng.uniform(0.1, 12)))
        if found.holds:
            assert found.by_range >= math.exp(-0.5)
            assert found.by_risk >= found.by_range if found.spanned else found.by_risk <= found.by_range
            seen[found.spanned] += 1
    assert min(seen) > 20


def test_two_values_as_far_apart_as_can_be_reach_the_least_bound() -> None:
    found = bound_of(np.array([1.0, -1.0]), np.array([False, True]), risk=2.0)
    assert found.by_range == found.by_risk == pytest.approx(math.exp(-0.5)) and found.spanned


def test_hoeffding_bounds_the_error_of_bounded_draws() -> None:
    rng = np.random.default_rng(0)
    for mu in (0.1, 0.3, 0.45):
        drawn = rng.choice([-0.5, 0.5], p=[0.5 - mu, 0.5 + mu], size=200_000)
        assert (drawn < 0).mean() <= hoeffding_bound(mu, 1.0)
    assert hoeffding_bound(0.0, 3.0) == 1


def test_sample_term_is_the_corollarys() -> None:
    assert sample_term(samples=200, delta=0.05) == pytest.approx(math.sqrt(math.log(20) / 400))


def test_perturbed_risk_takes_the_nearest_step_that_has_both() -> None:
    steps, nan = np.array([0.0, 10, 20, 30]), math.nan
    losses, gaps = np.array([0.8, 0.5, 0.4, 0.3]), np.array([0.1, nan, 0.05, nan])
    assert perturbed_risk(steps, losses, gaps, 0) == pytest.approx(0.9)
    assert perturbed_risk(steps, losses, gaps, 29) == pytest.approx(0.45)
    with pytest.raises(DataError, match="measured no SAM gap"):
        perturbed_risk(steps, losses, np.full(4, nan), 0)


def test_errors_say_what_to_change() -> None:
    with pytest.raises(SettingsError, match="`reach` must be > 0"):
        hoeffding_bound(1.0, 0.0)
    with pytest.raises(SettingsError, match="`epsilon` must be > 0"):
        bound_of(INFLUENCE, WRONG, risk=1.0, epsilon=0.0)
    with pytest.raises(DataError, match="right and wrong labels"):
        bound_of(INFLUENCE, np.zeros(6, bool), risk=1.0)
    with pytest.raises(DataError, match="must be finite"):
        bound_of(np.full(6, math.inf), WRONG, risk=1.0)
    for samples, delta in ((0, 0.1), (5, 0.0), (5, 1.0)):
        with pytest.raises(SettingsError, match="`delta` in"):
            sample_term(samples=samples, delta=delta)


def snapshots(scores: list[float], step: int, method: str = "standard") -> pd.DataFrame:
    truth = [False, False, True, True, None]
    return pd.DataFrame({"step": step, "method": method, "score": scores, "mislabeled": truth})


def test_fading_counts_every_known_sample_once_on_common_edges() -> None:
    frame = pd.concat([snapshots([1.0, 3.0, -4.0, -2.0, 99.0], 0), snapshots([0.1, 0.3, -0.4, 0.2, 99.0], 50)])
    first, last = fading(frame, "standard", bins=8)
    np.testing.assert_allclose(first.edges, np.linspace(-4, 3, 9))
    np.testing.assert_array_equal(first.edges, last.edges)
    assert first.clean.sum() == first.wrong.sum() == last.clean.sum() == last.wrong.sum() == 2
    assert (first.step, last.step) == (0, 50)
    assert first.median_clean == 2 and first.median_wrong == 3 and last.median_clean == pytest.approx(0.2)
    assert first.wrong[0] == 1 and first.clean[-1] == 1


def test_fading_on_a_logarithmic_axis_keeps_zeros_in_the_first_bin() -> None:
    (found,) = fading(snapshots([0.0, 10.0, 1000.0, 100.0, 5.0], 0, "influence"), "influence", bins=2, logarithmic=True)
    np.testing.assert_allclose(found.edges, [10, 100, 1000])
    assert found.clean.tolist() == [2, 0] and found.wrong.tolist() == [0, 2]
    with pytest.raises(DataError, match="must hold `standard` scores"):
        fading(snapshots([1.0] * 5, 0, "influence"), "standard")
