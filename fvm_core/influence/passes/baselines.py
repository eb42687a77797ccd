"""The plain baselines of the same model, all from one forward pass."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fvm_core.influence.baselines import (
    BASELINES,
    el2n_scores,
    logit_margin_scores,
    loss_scores,
    margin_scores,
    probabilities,
)
from fvm_core.influence.capture import evaluating
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.task import Task


@dataclass
class BaselinePass:
    """Loss, margin, EL2N and confident learning from one forward pass. Suggested label: the largest probability.

    `confident` keeps the probabilities until the end, when cleanlab sees all samples at once.
    """

    methods: tuple[str, ...] = BASELINES
    name: str = "baselines"
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        return 0.0, 0.3

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        return {}

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        with evaluating(task.model), torch.no_grad():
            logits = task.model(x)
        suggested = logits[:, : task.classes].argmax(1)
        makers = {
            "loss": loss_scores, "margin": margin_scores, "logit_margin": logit_margin_scores, "el2n": el2n_scores,
            "confident": probabilities,
        }  # fmt: skip
        out = {}
        for method in self.methods:
            scores = makers[method](logits)[:, : task.classes]
            given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
            out[method] = Columns(given, suggested, scores, torch.ones_like(scores, dtype=torch.bool))
        return out
