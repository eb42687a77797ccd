"""Weighted squared gradients of many labels from one matrix a filter: the labels' gradients are never built.

For filter o of a sample, sum_i D_oi (sum_t g_t a_ti)^2 = g^T N_o g with N_o = A diag(D_o) A^T (t, t), the same for
every label: worth it where the positions t are few against the labels m.
"""

from __future__ import annotations

import torch
from torch import Tensor

from fvm_core.influence.scratch import Scratch

ELEMENT = 40
"""Multiplications and additions of a matrix product that take as long as squaring and weighing one element (measured
on AVX2)."""


def pays(labels: int, positions: int, inner: int, filters: int) -> bool:
    """Return whether N is cheaper than the gradients of so many labels.

    >>> pays(10, 16, 576, 64), pays(1, 16, 576, 64), pays(1, 2, 576, 64)
    (True, False, True)
    """
    pairs = positions * (positions + 1) // 2
    ours = pairs * (2 * inner * filters + ELEMENT * (inner + filters)) + labels * filters * positions * (
        2 * positions + ELEMENT
    )
    return ours < labels * inner * filters * (2 * positions + ELEMENT)


def floats(labels: int, positions: int, inner: int, filters: int) -> int:
    """Return the floats that `weighted_by_pairs` needs for one sample."""
    pairs = positions * (positions + 1) // 2
    return pairs * (inner + 2 * filters) + filters * positions * (positions + 2 * labels)


def weighted_by_pairs(columns: Tensor, pulls: Tensor, weight: Tensor, scratch: Scratch) -> Tensor:
    """Return (b, m): sum over (o, i) of weight (o, i) * (pulls (b, m, o, t) @ columns (b, t, i))^2, for any m."""
    b, t, inner = columns.shape
    m, filters = pulls.shape[1:3]
    pairs = t * (t + 1) // 2
    products, at = scratch.room("pairs", (b, pairs, inner), pulls), 0
    for first in range(t):
        torch.mul(columns[:, first:], columns[:, first : first + 1], out=products[:, at : at + t - first])
        at += t - first
    half = scratch.room("half", (b, filters, pairs), pulls)
    torch.bmm(weight.expand(b, -1, -1), products.transpose(1, 2), out=half)
    row, column = torch.triu_indices(t, t, device=pulls.device)
    # Of the symmetric N only one half is made; what lies beside the diagonal counts twice.
    matrix = scratch.room("metric", (b * filters, t * t), pulls).zero_()
    twice = torch.where(row == column, 1.0, 2.0)
    matrix.index_copy_(1, row * t + column, half.view(b * filters, pairs).mul_(twice))
    g = pulls.transpose(1, 2).reshape(b * filters, m, t)
    sums = torch.bmm(g, matrix.view(-1, t, t)).mul_(g).sum(2)
    return sums.view(b, filters, m).sum(1).clamp_min_(0)
