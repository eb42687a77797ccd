"""How far an error at the logits moves the model on a typical image: the mean of J (F + d)^-1 J^T over images.

Beyond the paper. s of one image (Eq. 21) is r^T M r with its own M = J (F + d)^-1 J^T, J the Jacobian of its logits:
how wrong the label is (r) and how strongly this image pulls at the weights (M), in one number. Where labels are to be
ranked, the second is noise: a right label on a hard image looks like a wrong one on an easy one. The mean of M over
images keeps what the curvature knows of the classes and drops what is the image's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

import torch
from torch import Tensor

from fvm_core.influence.layer_gradients import visit_gradients
from fvm_core.influence.per_sample import SquaredGradients

BUDGET = 512 << 20
"""Bytes for the Jacobian's rows that are held at a time."""


def typical_metric(
    engine: SquaredGradients,
    images: Iterable[Tensor],
    weights: Mapping[str, Tensor],
    *,
    classes: int,
    budget: int = BUDGET,
    progress: Callable[[int], None] | None = None,
) -> Tensor:
    """Return M (classes, classes) float64, symmetric, >= 0: the mean over images of J diag(weights) J^T, of the first
    `classes` logits.

    `images` are batches x (b, ...); `weights` {parameter: 1 / (F + d)}, as from `inverse_fisher`. So r^T M r is the
    mean over images x of |(F + d)^-1/2 J_x^T r|^2: the s that an error r at the logits would have there.

    Cost: `classes` forward and backward passes an image; twice as many and more where the rows of all classes exceed
    `budget`. Memory: `budget`, or one image's gradient for two classes if that is more. `progress` hears of the images
    done so far.
    """
    elements = sum(value.numel() for value in weights.values())
    total, done = torch.zeros(classes, classes, dtype=torch.float64), 0
    for batch in images:
        at_once = max(1, min(len(batch), budget // (4 * elements * min(classes, 2))))
        for x in batch.split(at_once):
            held = max(1, budget // (4 * elements * len(x)))
            group = classes if held >= classes else max(1, held // 2)
            starts = range(0, classes, group)
            for first in starts:
                left = _rows(engine, x, weights, range(first, min(first + group, classes)))
                for second in starts[first // group :]:
                    labels = range(second, min(second + group, classes))
                    right = left if second == first else _rows(engine, x, weights, labels)
                    part = sum(
                        torch.einsum("kbp,lbp->kl", rows, right[name]).double().cpu() for name, rows in left.items()
                    )
                    total[first : first + group, second : second + group] += part
                    if second != first:
                        total[second : second + group, first : first + group] += part.t()  # type: ignore[union-attr]
            done += len(x)
            if progress is not None:
                progress(done)
    return (total + total.t()) / (2 * max(1, done))


def quadratic(residuals: Tensor, metric: Tensor) -> Tensor:
    """Return (...) float64 r^T M r for residuals (..., c) and M (c, c).

    >>> quadratic(torch.tensor([1.0, -1.0]), torch.tensor([[2.0, 0.0], [0.0, 3.0]])).item()
    5.0
    """
    r = residuals.double()
    return ((r @ metric.double()) * r).sum(-1)


def _rows(engine: SquaredGradients, x: Tensor, weights: Mapping[str, Tensor], labels: range) -> dict[str, Tensor]:
    """Return {parameter: (labels, b, elements)} of those logits' Jacobian, times the weights' square root."""
    held = {name: x.new_empty(len(labels), len(x), value.numel()) for name, value in weights.items()}
    for place, label in enumerate(labels):

        def pull(logits: Tensor, label: int = label) -> Tensor:
            out = torch.zeros_like(logits)
            out[:, label] = 1.0
            return out

        def visit(layer: str, rows: slice, grads: Mapping[str, Tensor], place: int = place) -> None:
            for name, value in grads.items():
                if name in held:
                    held[name][place, rows] = value.reshape(len(value), -1).to(x.dtype)

        visit_gradients(engine, x, pull, visit)
    return {name: rows.mul_(weights[name].reshape(-1).sqrt().to(x.dtype)) for name, rows in held.items()}
