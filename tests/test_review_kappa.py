"""Kappa against published worked examples, statsmodels and the definition; what is not defined says so."""

from __future__ import annotations

import math

import numpy as np
import pytest
from review_people import decide, replay_of
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from fvm_core.errors import ReviewError
from fvm_core.review.kappa import agreements, cohen, fleiss, least_agreed

# Ten subjects, fourteen raters, five categories: the worked example of Wikipedia's "Fleiss' kappa" (0.210).
FOURTEEN = [
    [0, 0, 0, 0, 14], [0, 2, 6, 4, 2], [0, 0, 3, 5, 6], [0, 3, 9, 2, 0], [2, 2, 8, 1, 1],
    [7, 7, 0, 0, 0], [3, 2, 6, 3, 0], [2, 5, 3, 2, 2], [6, 5, 2, 1, 0], [0, 2, 2, 3, 7],
]  # fmt: skip


def test_fleiss_is_that_of_the_worked_example_and_of_statsmodels() -> None:
    assert round(fleiss(FOURTEEN), 3) == 0.210
    rng = np.random.default_rng(0)
    for people, answers in ((2, 2), (3, 4), (7, 10)):
        table = rng.multinomial(people, np.full(answers, 1 / answers), size=40)
        assert math.isclose(fleiss(table), fleiss_kappa(table), rel_tol=1e-12)


def test_cohen_is_that_of_the_worked_example_and_of_statsmodels() -> None:
    # 50 proposals, 20 times both say yes, 15 times both no, 5 and 10 times they differ: 0.4.
    one, other = [1] * 25 + [0] * 25, [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert math.isclose(cohen(one, other), 0.4)
    rng = np.random.default_rng(1)
    first, second = rng.integers(0, 4, 60), rng.integers(0, 4, 60)
    table = np.zeros((4, 4))
    np.add.at(table, (first, second), 1)
    assert math.isclose(cohen(first, second), cohens_kappa(table).kappa, rel_tol=1e-12)


def test_undefined_cases_are_nan_and_impossible_ones_errors() -> None:
    assert math.isnan(cohen([1, 1], [1, 1])) and math.isnan(cohen([], []))
    assert math.isnan(fleiss([[3, 0], [3, 0]])) and math.isnan(fleiss([]))
    with pytest.raises(ReviewError, match=r"two lists of one length, got shapes \(2,\) and \(3,\)"):
        cohen([1, 2], [1, 2, 3])
    with pytest.raises(ReviewError, match=r"the same number of people, at least 2, got .*1\.0"):
        fleiss([[1, 0], [0, 1]])
    with pytest.raises(ReviewError, match="the same number of people, at least 2"):
        fleiss([[2, 0], [2, 1]])


def test_agreements_answer_both_questions_over_blind_images_only() -> None:
    """Given label 3 everywhere; Ada, Bob and Cy answer six images, Cy skips one, and image 7 was done in the open."""
    said = {
        "Ada": [3, 3, 5, 5, 3, 6], "Bob": [3, 5, 5, 6, 3, 3], "Cy": [3, 3, 5, 5, None, 6],
    }  # fmt: skip
    decisions = [decide(f"img-{k}", label, who) for who, labels in said.items() for k, label in enumerate(labels)]
    decisions += [decide("img-7", 1, "Ada"), decide("img-7", 2, "Bob")]
    replay = replay_of(decisions)
    found = {(each.question, each.who): each for each in agreements(replay, {f"img-{k}" for k in range(6)})}

    pair = found["class", ("Ada", "Bob")]
    table = np.zeros((7, 7))
    np.add.at(table, (said["Ada"], said["Bob"]), 1)
    used = table[np.ix_([3, 5, 6], [3, 5, 6])]
    assert pair.items == 6 and pair.same == 3 / 6 and math.isclose(pair.kappa, cohens_kappa(used).kappa)
    wrong = found["wrong", ("Ada", "Bob")]
    # Both right 2, both wrong 2, differ 2: (4/6 - 1/2) / (1/2).
    assert wrong.same == 4 / 6 and math.isclose(wrong.kappa, 1 / 3)
    assert found["class", ("Ada", "Cy")].items == 5 and found["class", ("Ada", "Cy")].kappa == 1.0

    three = found["class", ("3 people",)]
    counts = [[3, 0, 0], [2, 1, 0], [0, 3, 0], [0, 2, 1], [1, 0, 2]]
    assert three.items == 5 and math.isclose(three.kappa, fleiss_kappa(np.array(counts)))
    two = found["class", ("2 people",)]
    assert two.items == 1 and math.isnan(two.kappa) and "not defined: all gave one and the same answer" in two.why
    assert least_agreed(replay) == ["img-7", "img-1", "img-3", "img-5"], "0 of 1 pairs, then 1 of 3"
