"""Scores that know how the labels go wrong: the posterior of the given label, and the influence of its error."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor

from fvm_core.distributed.workers import workers_of
from fvm_core.influence.capture import evaluating
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.noise import Transition, estimate_transition, posterior
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.validation_fisher import EARLIER, kept_fisher, validation_fisher
from fvm_core.influence.per_sample import SquaredGradients, total
from fvm_core.influence.task import Task
from fvm_core.influence.typical_metric import quadratic, typical_metric

SAMPLES = 20_000
"""Training samples that the transition matrix is estimated from, at the most."""
TYPICAL = 256
"""Training images over which the typical metric is taken, at the most: from 64 on the rankings did not change."""


@dataclass
class NoisePass:
    """`posterior`: -log P(given label is the true one | image, given label), under the transition matrix that the
    model's predictions imply. `error_influence`: s of the part of the gradient that the label's error makes,
    (q - e_y)^T J (F + d)^-1 J^T (q - e_y) with q the posterior (Eq. 21 with q in the place of the softmax).
    `typical_influence`: the same error's s on a typical image, (q - e_y)^T M (q - e_y) with M of `typical_metric`.

    The first two suggest the label of the largest posterior, the third the class k of the smallest (q - e_k)^T M
    (q - e_k) (Eq. 22): mostly the given one where it is probably right.
    """

    methods: tuple[str, ...] = ("posterior", *EARLIER)
    name: str = "noise"
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        ahead, each = 0.3 * min(SAMPLES, len(task.train)), 0.3
        if self._curved:
            ahead += len(task.validation)
        if "typical_influence" in self.methods:
            ahead += task.classes * min(TYPICAL, len(task.train))
        return ahead, each + ("error_influence" in self.methods)

    @property
    def _curved(self) -> bool:
        return bool(set(EARLIER) & set(self.methods))

    @property
    def together(self) -> bool:
        return self._curved

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        device = next(task.model.parameters()).device
        if self._curved:
            self.engine = task.engine()
        fresh = kept is None
        kept = kept or (validation_fisher(task, self.engine, report) if self._curved else {})
        if self._curved:
            self.weights = inverse_fisher(kept_fisher(task, kept), damping=task.settings.damping)
            self.notes = [*self.engine.notes]
        if fresh:
            if not workers_of(task.context).leads:
                return kept  # the rest is worker 0's
            made = implied_transition(task, report)
            kept |= {"matrix": made.matrix.cpu(), "noise": made.noise, "note": _note(task, made)}
            if "typical_influence" in self.methods:
                kept["typical"] = typical(task, self.engine, self.weights, report)
        self.matrix = kept["matrix"].to(device)
        self.typical = kept["typical"].to(device) if "typical" in kept else None
        self.notes = [*self.notes, kept["note"]]
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        q = posterior(_probabilities(task, x), y, self.matrix)
        surprise = -q.clamp_min(1e-300).log()
        suggested = q.argmax(1)
        out = {}
        if "posterior" in self.methods:
            given = surprise.gather(1, y.unsqueeze(1)).squeeze(1)
            out["posterior"] = Columns(given, suggested, surprise, torch.ones_like(surprise, dtype=torch.bool))
        if "error_influence" in self.methods:

            def error(logits: Tensor) -> Tensor:
                pull = torch.zeros_like(logits)
                pull[:, : task.classes] = q.to(logits.dtype)
                # The label's own entry is minus the sum of the others: it keeps its digits where q is nearly one-hot.
                pull.scatter_(1, y.unsqueeze(1), 0.0)
                return pull.scatter(1, y.unsqueeze(1), -pull.sum(1, keepdim=True)).unsqueeze(0)

            parts, _ = self.engine.contributions(x, error, self.weights)
            out["error_influence"] = Columns(total(parts[0]), suggested)
        if self.typical is not None:
            every = torch.eye(task.classes, dtype=q.dtype, device=q.device)
            scores = quadratic(q.unsqueeze(1) - every, self.typical)
            given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
            exact = torch.ones_like(scores, dtype=torch.bool)
            out["typical_influence"] = Columns(given, scores.argmin(1), scores, exact)
        return out


def typical(task: Task, engine: SquaredGradients, weights: Mapping[str, Tensor], report: Report) -> Tensor:
    """Return the typical metric over TYPICAL training images drawn by the seed. Reports a unit for each image and
    class."""
    size = min(TYPICAL, len(task.train))
    rows = np.sort(np.random.default_rng(task.settings.seed).choice(len(task.train), size, replace=False))
    batch, done = min(8, task.settings.batch_size), 0

    def told(count: int) -> None:
        nonlocal done
        report(task.classes * (count - done), "Metric of a typical image")
        done = count

    batches = (task.train.batch(rows[start : start + batch])[0] for start in range(0, size, batch))
    return typical_metric(engine, batches, weights, classes=task.classes, progress=told).cpu()


def implied_transition(task: Task, report: Report) -> Transition:
    """Return which class is given which label, as the model's predictions on up to SAMPLES training samples imply it.

    Reports 0.3 units a sample.
    """
    size = min(SAMPLES, len(task.train))
    rows = np.sort(np.random.default_rng(task.settings.seed).choice(len(task.train), size, replace=False))
    found, labels, batch = [], [], 4 * task.settings.batch_size
    for start in range(0, size, batch):
        x, y = task.train.batch(rows[start : start + batch])
        found.append(_probabilities(task, x))
        labels.append(y)
        report(0.3 * len(x), "Predictions for the transition matrix")
    return estimate_transition(torch.cat(found), torch.cat(labels))


def _note(task: Task, made: Transition) -> str:
    return (
        f"Transition matrix: from {min(SAMPLES, len(task.train))} training samples in {made.steps} steps; it implies "
        f"{made.noise:.1%} wrong labels."
    )


def _probabilities(task: Task, x: Tensor) -> Tensor:
    with evaluating(task.model), torch.no_grad():
        return task.model(x)[:, : task.classes].double().softmax(1)
