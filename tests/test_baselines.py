"""Baselines against hand formulas and cleanlab."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from cleanlab.rank import get_label_quality_scores

from fvm_core.errors import DataError
from fvm_core.influence.baselines import confident_quality, el2n_scores, loss_scores, margin_scores, probabilities

P = torch.tensor([[0.7, 0.2, 0.1], [0.1, 0.45, 0.45], [1 / 3, 1 / 3, 1 / 3]], dtype=torch.float64)


def test_loss_is_minus_the_log_probability() -> None:
    torch.testing.assert_close(loss_scores(P.log()), -P.log())
    assert loss_scores(torch.tensor([[30.0, 0.0]]))[0, 0] > 0, "confident samples keep their digits"


def test_margin_by_hand() -> None:
    expected = [[0.2 - 0.7, 0.7 - 0.2, 0.7 - 0.1], [0.45 - 0.1, 0.0, 0.0], [0.0, 0.0, 0.0]]
    torch.testing.assert_close(margin_scores(P.log()), torch.tensor(expected, dtype=torch.float64), atol=1e-12, rtol=0)


def test_el2n_by_hand() -> None:
    found = el2n_scores(P.log())
    assert found[0, 0].item() == pytest.approx(math.sqrt(0.3**2 + 0.2**2 + 0.1**2))
    assert found[0, 2].item() == pytest.approx(math.sqrt(0.7**2 + 0.2**2 + 0.9**2))
    assert found.shape == (3, 3) and (found <= math.sqrt(2)).all()


def test_the_smallest_of_every_baseline_is_the_likeliest_class() -> None:
    torch.manual_seed(0)
    logits = torch.randn(50, 6)
    for scores in (loss_scores(logits), margin_scores(logits), el2n_scores(logits), -probabilities(logits)):
        assert torch.equal(scores.argmin(1), logits.argmax(1))


def test_confident_is_cleanlabs_quality_and_not_the_loss_again() -> None:
    rng = np.random.default_rng(0)
    labels = rng.choice(3, 200, p=[0.6, 0.3, 0.1])
    logits = rng.normal(size=(200, 3)) + np.eye(3)[labels] * np.array([3.0, 1.0, 0.5])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    found = confident_quality(labels, p.astype(np.float32))
    expected = get_label_quality_scores(labels, p.astype(np.float32).astype(np.float64), adjust_pred_probs=True)
    np.testing.assert_array_equal(found, expected)
    thresholds = np.array([p[labels == k, k].mean() for k in range(3)])
    own = p[np.arange(200), labels] - thresholds[labels]
    np.testing.assert_array_equal(np.argsort(found), np.argsort(own))
    assert not np.array_equal(np.argsort(found), np.argsort(p[np.arange(200), labels]))


def test_confident_needs_two_classes() -> None:
    with pytest.raises(DataError, match="`pred_probs` must have at least 2 classes"):
        confident_quality(np.zeros(3, np.int64), np.ones((3, 1)))
