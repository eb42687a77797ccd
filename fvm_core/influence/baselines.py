"""What needs a forward pass only: cross-entropy, margin, EL2N and confident learning of the same model."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from fvm_core.errors import DataError

BASELINES = ("loss", "margin", "logit_margin", "el2n", "confident")


def loss_scores(logits: Tensor) -> Tensor:
    """Return (b, c) float64 -log p_k in nats for every label k. Large = likely mislabeled."""
    return -F.log_softmax(logits.double(), dim=1)


def margin_scores(logits: Tensor) -> Tensor:
    """Return (b, c) float64 max over j != k of p_j, minus p_k, in [-1, 1]. Positive = the model prefers another label.

    >>> margin_scores(torch.log(torch.tensor([[0.7, 0.2, 0.1]]))).round(decimals=3).tolist()
    [[-0.5, 0.5, 0.6]]
    """
    return _largest_other(F.softmax(logits.double(), dim=1))


def logit_margin_scores(logits: Tensor) -> Tensor:
    """Return (b, c) float64 max over j != k of z_j, minus z_k. Positive = the model prefers another label.

    >>> logit_margin_scores(torch.tensor([[3.0, 1.0, 0.0]])).tolist()
    [[-2.0, 2.0, 3.0]]
    """
    return _largest_other(logits.double())


def _largest_other(values: Tensor) -> Tensor:
    """Return (b, c) the largest value of the row's other columns, minus the value."""
    if values.shape[1] < 2:
        return -values
    top = values.topk(2, dim=1).values
    best = values.argmax(1, keepdim=True)
    return top[:, :1].expand_as(values).scatter(1, best, top[:, 1:]) - values


def el2n_scores(logits: Tensor) -> Tensor:
    """Return (b, c) float64 ||p - e_k||_2 in [0, sqrt 2] (Paul et al. 2021). Large = likely mislabeled."""
    p = F.softmax(logits.double(), dim=1)
    c = p.shape[1]
    eye = torch.eye(c, dtype=p.dtype, device=p.device)
    return torch.stack([(p - eye[k]).square().sum(1).sqrt() for k in range(c)], dim=1)


def probabilities(logits: Tensor) -> Tensor:
    """Return (b, c) float64 softmax."""
    return F.softmax(logits.double(), dim=1)


def confident_quality(labels: NDArray[np.int64], pred_probs: NDArray[np.floating]) -> NDArray[np.float64]:
    """Return (n,) cleanlab's label quality in [0, 1]: self-confidence less the class's mean self-confidence, rescaled
    (Northcutt et al. 2021). **Low = likely mislabeled.** Takes all samples at once: it holds n * c numbers.

    Without `adjust_pred_probs` the quality would be p of the given label, the same order as the loss.

    Raises:
        DataError: fewer than two classes.
    """
    if pred_probs.ndim != 2 or pred_probs.shape[1] < 2:
        raise DataError(f"`pred_probs` must have at least 2 classes for confident learning, got {pred_probs.shape}.")
    from cleanlab.rank import get_label_quality_scores

    quality = get_label_quality_scores(labels, np.asarray(pred_probs, dtype=np.float64), adjust_pred_probs=True)
    return np.asarray(quality, dtype=np.float64)
