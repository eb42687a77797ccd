"""Suggested labels: the class whose gradient is the smallest in the Fisher metric (Eq. 22: argmin over s)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from fvm_core.errors import DataError
from fvm_core.influence.capture import evaluating
from fvm_core.influence.per_sample import SquaredGradients, check_labels, residuals

AT_ONCE = 3
SLACK = {"fp32": 1e-4, "bf16": 2**-6}
"""A label is given up only when its lower bound is above the best score by this fraction: rounding cannot decide."""


@dataclass(frozen=True)
class LabelScores:
    """`given` (b,) s of the given label. `scores` (b, c) float64 s of every label, or a lower bound of it where `exact`
    (b, c) is False: such a label cannot be the smallest. `suggested` (b,) argmin. `logits` (b, c)."""

    given: Tensor
    scores: Tensor
    exact: Tensor
    suggested: Tensor
    logits: Tensor


def all_labels(
    engine: SquaredGradients, x: Tensor, y: Tensor, weights: Mapping[str, Tensor], *, classes: int | None = None
) -> LabelScores:
    """Return s for the first `classes` labels (None: all) of each sample; one forward, `classes` backward passes.

    Raises:
        DataError: y is not one of these labels for each sample.
    """
    classes = classes or _width(engine, x)
    _check(x, y, classes)
    labels = torch.arange(classes, device=x.device).expand(len(x), classes)
    scores, logits = engine.label_scores(x, labels, weights)
    given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
    return LabelScores(given, scores, torch.ones_like(scores, dtype=torch.bool), scores.argmin(1), logits)


def _check(x: Tensor, y: Tensor, classes: int) -> None:
    check_labels(y, x)
    if not 0 <= int(y.min()) <= int(y.max()) < classes:
        raise DataError(f"`y` must hold labels 0 to {classes - 1}, got {int(y.min())} to {int(y.max())}.")


def _width(engine: SquaredGradients, x: Tensor) -> int:
    with evaluating(engine.model), torch.no_grad():
        return engine.model(x[:1]).shape[1]


def shortlist(
    engine: SquaredGradients,
    x: Tensor,
    y: Tensor,
    weights: Mapping[str, Tensor],
    *,
    classes: int | None = None,
    batch_size: int = 64,
) -> LabelScores:
    """Return the same suggestion as `all_labels` from fewer backward passes (branch and bound).

    s is a sum over layers of numbers >= 0, so what the last layers give (`top_layers`) is a lower bound of s, for which
    only the end of the network is gone back through: it is taken for every label. The rest is taken for the given label
    and for the most promising others, from the smallest bound up; one whose bound exceeds the best exact s cannot win
    and keeps its bound. In bf16, labels whose scores differ by less than its rounding may change places.

    Raises:
        DataError: as `all_labels`.
    """
    classes = classes or _width(engine, x)
    _check(x, y, classes)
    top = engine.top_layers(weights)
    if not top or {name for layer in top for name in engine.plan.owned[layer].values()} >= set(weights):
        return all_labels(engine, x, y, weights, classes=classes)
    parts = []
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        with engine.running(x[rows], weights) as run:
            logits = run.logits.detach()
            every = [residuals(logits, torch.full_like(y[rows], label)) for label in range(classes)]
            bounds = run.totals(every, layers=top, last=False)
            parts.append((bounds, run.totals([residuals(logits, y[rows])], without=top)[:, 0], logits))
    bounds, below, logits = (torch.cat(items) for items in zip(*parts, strict=True))
    given = y.unsqueeze(1)
    scores = bounds.scatter_add(1, given, below.unsqueeze(1))
    exact = torch.zeros_like(scores, dtype=torch.bool).scatter(1, given, True)
    size, slack = 1, SLACK[engine.precision]
    while True:
        best = scores.masked_fill(~exact, torch.inf).amin(1, keepdim=True)
        # A bound that overflows cannot win, even where the best score does, too.
        open_labels = ((scores <= best * (1 + slack)) & ~exact & scores.isfinite()).sum(1)
        # Those with as many labels left lie together: all samples of a batch get as many.
        order = open_labels.argsort(descending=True)[: int((open_labels > 0).sum())]
        if len(order) == 0:
            break
        bound, label = scores.masked_fill(exact, torch.inf).topk(min(size, scores.shape[1]), dim=1, largest=False)
        for rows in order.split(batch_size):
            wanted = min(size, int(open_labels[rows[0]]))
            # Beyond the last label left stands the first one again.
            chosen = torch.where(bound[rows].isinf(), label[rows, :1], label[rows])[:, :wanted]
            with engine.running(x[rows], weights) as run:
                pulls = [residuals(logits[rows], labels) for labels in chosen.unbind(1)]
                below = run.totals(pulls, without=top)
            scores[rows.unsqueeze(1), chosen] = bounds[rows.unsqueeze(1), chosen] + below
            exact[rows.unsqueeze(1), chosen] = True
        size = AT_ONCE
    suggested = scores.masked_fill(~exact, torch.inf).argmin(1)
    return LabelScores(scores.gather(1, given).squeeze(1), scores, exact, suggested, logits)
