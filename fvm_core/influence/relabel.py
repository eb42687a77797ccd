"""Suggested labels: the class whose gradient is the smallest in the Fisher metric (Eq. 22: argmin over s)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from fvm_core.influence.capture import evaluating
from fvm_core.influence.per_sample import SquaredGradients, residuals

AT_ONCE = 3
SLACK = 1e-4
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
    """Return s for the first `classes` labels (None: all) of each sample; one forward, `classes` backward passes."""
    classes = classes or _width(engine, x)
    labels = torch.arange(classes, device=x.device).expand(len(x), classes)
    scores, logits = engine.label_scores(x, labels, weights)
    given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
    return LabelScores(given, scores, torch.ones_like(scores, dtype=torch.bool), scores.argmin(1), logits)


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

    The last linear layer's part of s follows from the forward pass alone and is a lower bound of s. Labels are tried
    from the smallest bound up, AT_ONCE at a time; one whose bound exceeds the best exact s cannot win and keeps its
    bound. The given label is always exact. Without a linear layer at the end every label is tried.
    """
    exact_scores, logits, bounds = _given(engine, x, y, weights, batch_size)
    bounds = bounds[:, :classes]
    scores = bounds.scatter(1, y.unsqueeze(1), exact_scores.unsqueeze(1))
    exact = torch.zeros_like(scores, dtype=torch.bool).scatter(1, y.unsqueeze(1), True)
    size = min(AT_ONCE, scores.shape[1])
    while True:
        best = scores.masked_fill(~exact, torch.inf).amin(1)
        bound, label = scores.masked_fill(exact, torch.inf).topk(size, dim=1, largest=False)
        open_rows = torch.nonzero(bound[:, 0] <= best * (1 + SLACK)).squeeze(1)
        if len(open_rows) == 0:
            break
        for rows in open_rows.split(batch_size):
            # A label beyond the last one left repeats it: all samples of a batch get as many.
            chosen = torch.where(bound[rows].isinf(), label[rows, :1], label[rows])
            scores[rows.unsqueeze(1), chosen] = engine.label_scores(x[rows], chosen, weights)[0]
            exact[rows.unsqueeze(1), chosen] = True
    suggested = scores.masked_fill(~exact, torch.inf).argmin(1)
    return LabelScores(scores.gather(1, y.unsqueeze(1)).squeeze(1), scores, exact, suggested, logits)


def _given(
    engine: SquaredGradients, x: Tensor, y: Tensor, weights: Mapping[str, Tensor], batch_size: int
) -> tuple[Tensor, Tensor, Tensor]:
    """Return s of the given labels (n,), logits (n, c) and lower bounds for every label (n, c)."""
    parts = []
    for start in range(0, len(x), batch_size):
        rows = slice(start, start + batch_size)
        with _HeadInput(engine.model) as head:
            s, logits = engine.scores(x[rows], y[rows], weights)
        parts.append((s, logits, _bounds(head, logits, engine, weights)))
    first, second, third = (torch.cat(items) for items in zip(*parts, strict=True))
    return first, second, third


class _HeadInput:
    """Finds the Linear whose output is the logits, and keeps its input."""

    def __init__(self, model: nn.Module) -> None:
        self.model = model
        self.seen: list[tuple[str, Tensor, Tensor, int]] = []

    def __enter__(self) -> _HeadInput:
        self._handles = [
            module.register_forward_hook(self._saver(name))
            for name, module in self.model.named_modules()
            if type(module) is nn.Linear
        ]
        return self

    def _saver(self, name: str):  # type: ignore[no-untyped-def]
        def save(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            if args and args[0].dim() == 2:
                self.seen.append((name, args[0].detach(), out, out._version))

        return save

    def __exit__(self, *_: object) -> None:
        for handle in self._handles:
            handle.remove()


def _bounds(head: _HeadInput, logits: Tensor, engine: SquaredGradients, weights: Mapping[str, Tensor]) -> Tensor:
    """Return (b, c) float64: the last layer's part of s for every label; 0 where there is none."""
    bounds = torch.zeros_like(logits, dtype=torch.float64)
    for name, inner, out, version in head.seen:
        same = out.shape == logits.shape and out.data_ptr() == logits.data_ptr() and out._version == version
        if name not in engine.plan.owned or not same:
            continue
        scale, basis = engine.head_metric(name, inner, weights)
        for label in range(logits.shape[1]):
            pull = residuals(logits.double(), torch.full_like(logits[:, 0], label, dtype=torch.long))
            pull = pull if basis is None else pull @ basis
            bounds[:, label] = (pull.square() * scale).sum(1)
    return bounds
