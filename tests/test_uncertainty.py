"""Standard errors against what repeated sampling gives."""

from __future__ import annotations

import math

import numpy as np
from sklearn.metrics import roc_auc_score

from fvm_core.influence.uncertainty import auc_standard_error, share_standard_error


def test_auc_standard_error_is_near_the_spread_over_samples() -> None:
    random = np.random.default_rng(0)
    truth = np.r_[np.ones(60, bool), np.zeros(90, bool)]
    aucs = [roc_auc_score(truth, random.normal(size=150) + 1.5 * truth) for _ in range(400)]
    error = auc_standard_error(float(np.mean(aucs)), wrong=60, clean=90)
    assert 0.8 < error / np.std(aucs) < 1.25


def test_share_standard_error_is_the_binomial_one() -> None:
    draws = np.random.default_rng(0).binomial(200, 0.3, 4000) / 200
    assert abs(share_standard_error(0.3, n=200) / draws.std() - 1) < 0.05


def test_nothing_measured_has_no_error() -> None:
    assert math.isnan(auc_standard_error(0.9, wrong=0, clean=10))
    assert math.isnan(auc_standard_error(float("nan"), wrong=10, clean=10))
    assert math.isnan(share_standard_error(0.5, n=0))
    assert auc_standard_error(1.0, wrong=5, clean=5) == 0
