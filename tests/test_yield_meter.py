"""What a review has brought: Wilson's interval, bands, errors left, when to stop."""

from __future__ import annotations

import math

import numpy as np
import pytest

from fvm_core.errors import ReviewError
from fvm_core.review.yield_meter import RIGHT, SKIPPED, UNSEEN, WRONG, StopRule, advice, bands, edges, left, wilson


@pytest.mark.parametrize(("wrong", "judged"), [(0, 10), (3, 10), (10, 10), (45, 60)])
def test_wilson_is_its_closed_form(wrong: int, judged: int) -> None:
    z = 1.959963984540054
    p, spread = wrong / judged, z * z / judged
    middle = (p + spread / 2) / (1 + spread)
    half = z / (1 + spread) * math.sqrt(p * (1 - p) / judged + spread / judged / 4)
    assert wilson(wrong, judged) == pytest.approx((max(0, middle - half), min(1, middle + half)), abs=1e-9)


def test_nothing_judged_says_nothing() -> None:
    assert wilson(0, 0) == (0.0, 1.0)
    (band,) = bands([UNSEEN, SKIPPED])
    assert (band.judged, band.low, band.high) == (0, 0.0, 1.0) and math.isnan(band.rate)


def test_bands_count_each_rank_once() -> None:
    verdicts = np.full(400, UNSEEN)
    verdicts[:40], verdicts[40:50], verdicts[50:60], verdicts[349] = WRONG, RIGHT, SKIPPED, WRONG
    found = bands(verdicts)
    assert [(item.first, item.last) for item in found] == [(1, 50), (51, 150), (151, 350), (351, 400)]
    assert [(item.judged, item.wrong) for item in found] == [(50, 40), (0, 0), (1, 1), (0, 0)]
    assert found[0].rate == 0.8 and edges(7, first=3, ratio=1.0) == [3, 6, 7]


def test_errors_left_by_band() -> None:
    verdicts = np.full(100, UNSEEN)
    verdicts[:10] = [WRONG] * 8 + [RIGHT] * 2
    verdicts[50:60] = [WRONG] * 1 + [RIGHT] * 9
    found = left(verdicts, ends=[50, 100])
    assert found.expected == pytest.approx(40 * 0.8 + 40 * 0.1)
    assert found.at_most == pytest.approx(40 * wilson(8, 10)[1] + 40 * wilson(1, 10)[1])
    deeper = left(np.concatenate([verdicts, np.full(30, UNSEEN)]), ends=[50, 100, 130])
    assert deeper.expected == pytest.approx(found.expected + 30 * 0.1) and "band" in deeper.basis


def test_true_number_of_errors_is_found_again_from_chances_that_are_too_low() -> None:
    """Labels are wrong with probability p; the chances given say three quarters of it. Judging mends that."""
    rng = np.random.default_rng(0)
    p = np.sort(rng.beta(0.6, 1.2, 20_000))[::-1]
    wrong, low = rng.random(20_000) < p, 0.75 * p
    verdicts = np.full(20_000, UNSEEN)
    verdicts[:2_000] = np.where(wrong[:2_000], WRONG, RIGHT)
    truth = wrong[verdicts == UNSEEN].sum()
    found = left(verdicts, low)
    assert low[verdicts == UNSEEN].sum() < 0.8 * truth
    assert found.expected == pytest.approx(truth, rel=0.05) and "scaled" in found.basis
    assert found.at_most > truth


@pytest.mark.parametrize("judged", [2, 20, 200])
def test_confirming_what_was_certain_changes_nothing_about_the_rest(judged: int) -> None:
    """The top of a list is near 1; finding all of it wrong says nothing against the chances further down."""
    chance = np.concatenate([np.full(200, 0.9999), np.full(1000, 0.5), np.full(800, 0.01)])
    verdicts = np.full(2000, UNSEEN)
    verdicts[:judged] = WRONG
    assert left(verdicts, chance).expected == pytest.approx(chance[judged:].sum(), rel=0.01)
    verdicts[: judged // 2] = RIGHT
    assert left(verdicts, chance).expected < 0.9 * chance[judged:].sum()


def test_the_deepest_verdicts_say_how_far_the_chances_hold() -> None:
    chance = np.full(3000, 0.5)
    verdicts = np.full(3000, UNSEEN)
    verdicts[:1000] = WRONG
    verdicts[1000:1500] = RIGHT
    assert left(verdicts, chance).expected == pytest.approx(1500 * 0.5 * 5 / 255)


def test_without_a_verdict_the_chances_stand_as_they_are() -> None:
    found = left(np.full(4, UNSEEN), [0.9, 0.5, 0.1, 0.1])
    assert found.expected == pytest.approx(1.6) and found.at_most == 4 and found.basis == "the label error posterior"


def test_it_stops_when_the_deepest_window_is_surely_below_the_rate() -> None:
    rule = StopRule(window=50, rate=0.1)
    verdicts = [WRONG] * 100 + [RIGHT] * 50 + [UNSEEN] * 100
    assert advice(verdicts, rule).stop and advice(verdicts, rule).high == pytest.approx(wilson(0, 50)[1])
    assert not advice([WRONG] * 100 + [RIGHT] * 49 + [SKIPPED] * 9, rule).stop
    one = [WRONG] * 100 + [RIGHT] * 49 + [WRONG] + [UNSEEN]
    assert not advice(one, rule).stop and advice(one, StopRule(window=50, rate=0.1, sure=False)).stop
    assert not advice([RIGHT] * 49, rule).stop and advice([], rule).judged == 0


def test_bad_rules_and_lengths_are_refused() -> None:
    with pytest.raises(ReviewError, match="`window` must be a whole number >= 1, got 0"):
        StopRule(window=0)
    with pytest.raises(ReviewError, match=r"`rate` must be in \(0, 1\), got 1"):
        StopRule(rate=1)
    with pytest.raises(ReviewError, match="`chance` must have one value for each of 2 samples"):
        left([UNSEEN, WRONG], [0.5])
