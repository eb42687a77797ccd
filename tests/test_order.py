"""The fast falling order against NumPy's stable sort."""

from __future__ import annotations

import numpy as np
import pytest

from fvm_core.influence.order import falling


@pytest.mark.parametrize("digits", [0, 1, 15])
@pytest.mark.parametrize("missing", [0, 1, 40])
def test_falling_equals_a_stable_sort(digits: int, missing: int) -> None:
    random = np.random.default_rng(digits)
    values = random.normal(size=3000).round(digits)
    values[random.choice(3000, missing, replace=False)] = np.nan
    values[random.choice(3000, 20, replace=False)] = random.choice([np.inf, -np.inf, 0.0, -0.0], 20)
    assert np.array_equal(falling(values), np.argsort(-values, kind="stable"))


def test_falling_of_equals_nothing_and_one() -> None:
    assert falling(np.zeros(5)).tolist() == [0, 1, 2, 3, 4]
    assert falling(np.full(3, np.nan)).tolist() == [0, 1, 2]
    assert falling([]).tolist() == [] and falling([2]).tolist() == [0]


def test_what_single_precision_cannot_tell_apart_is_ordered_too() -> None:
    random = np.random.default_rng(2)
    close = 1 + 1e-12 * random.normal(size=500)
    far = np.concatenate([random.normal(size=50) * 1e300, random.normal(size=50) * 1e-300, [np.inf, -np.inf] * 5])
    values = random.permutation(np.concatenate([close, far, np.full(5, np.nan), [0.0, -0.0] * 5, close[:100]]))
    assert np.array_equal(falling(values), np.argsort(-values, kind="stable"))
