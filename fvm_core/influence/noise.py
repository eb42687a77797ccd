"""Which labels are given instead of the true ones: a transition matrix, and the chance that a label is wrong.

Beyond the paper. A loss asks how likely the given label is for this image alone. People do not err at random: a cat is
called a dog, hardly ever a truck. So a rare confusion speaks for the label, a common one against it.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from fvm_core.errors import DataError

START = 0.8
"""Share of right labels that the estimate starts from."""


@dataclass(frozen=True)
class Transition:
    """`matrix` (c, c) float64: P(given label | true label), rows sum to 1. `noise`: the share of wrong labels in [0, 1]
    that it implies for the samples it was made from. `change`: largest change in the last step; `steps` taken."""

    matrix: Tensor
    noise: float
    change: float
    steps: int


def posterior(probabilities: Tensor, labels: Tensor, matrix: Tensor) -> Tensor:
    """Return (n, c) float64: P(true label = k | image, given label), proportional to p_k * matrix[k, given].

    `probabilities` (n, c): the model's P(true label | image). `labels` (n,) int64. Rows sum to 1.

    >>> p = torch.tensor([[0.5, 0.5]])
    >>> posterior(p, torch.tensor([1]), torch.tensor([[0.9, 0.1], [0.3, 0.7]]).double()).round(decimals=3).tolist()
    [[0.125, 0.875]]
    """
    joint = probabilities.double().clamp_min(1e-300) * matrix[:, labels].t()
    return joint / joint.sum(1, keepdim=True)


def estimate_transition(
    probabilities: Tensor, labels: Tensor, *, steps: int = 50, tolerance: float = 1e-4, smoothing: float = 1.0
) -> Transition:
    """Estimate the transition matrix by expectation maximisation from predictions and given labels; no truth is used.

    Each step takes the posterior of the true label under the matrix, then counts with it how often each class is given
    which label. `smoothing` is a count added to every cell. The likelihood of the given labels never falls (but for
    the smoothing). `probabilities` (n, c) have to be honest: an overconfident model hides confusions, an unsure one
    invents them.

    Cost: `steps` times n * c. One labeler a sample is enough (Dawid & Skene 1979 with a classifier as the prior;
    Mnih & Hinton 2012).

    Raises:
        DataError: no sample, shapes that do not fit, or a label outside 0..c-1.
    """
    n, c = (probabilities.shape[0], probabilities.shape[1]) if probabilities.dim() == 2 else (0, 0)
    if n == 0 or labels.shape != (n,):
        raise DataError(
            f"`labels` must hold one label for each row of `probabilities` (n, c), n >= 1, got {tuple(labels.shape)} "
            f"for {tuple(probabilities.shape)}."
        )
    if int(labels.min()) < 0 or int(labels.max()) >= c:
        raise DataError(f"`labels` must be in 0..{c - 1}, got {int(labels.min())} to {int(labels.max())}.")
    matrix = torch.full((c, c), (1 - START) / max(1, c - 1), dtype=torch.float64, device=labels.device)
    matrix.fill_diagonal_(START if c > 1 else 1.0)
    change, taken = float("inf"), 0
    while taken < steps and change > tolerance:
        q = posterior(probabilities, labels, matrix)
        counts = torch.full((c, c), smoothing, dtype=torch.float64, device=labels.device)
        counts = counts.t().index_add(0, labels, q).t()
        new = counts / counts.sum(1, keepdim=True)
        change = float((new - matrix).abs().max())
        matrix, taken = new, taken + 1
    right = posterior(probabilities, labels, matrix).gather(1, labels.unsqueeze(1))
    return Transition(matrix, float(1 - right.mean()), change, taken)
