"""Self-influence by kronfluence with the strategy `diagonal`: the same sum as our score, of Linear and Conv2d."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import torch
from kronfluence.analyzer import Analyzer, prepare_model
from kronfluence.arguments import FactorArguments, ScoreArguments
from kronfluence.task import Task
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.data import TensorDataset

from tests.benchmarks.scoring_works import Bench


class Classification(Task):
    """Cross-entropy of the given label."""

    def compute_train_loss(self, batch: Any, model: nn.Module, sample: bool = False) -> Tensor:
        x, y = batch
        logits = model(x)
        if sample:
            y = torch.multinomial(logits.detach().softmax(1), 1).flatten()
        return F.cross_entropy(logits, y, reduction="sum")

    def compute_measurement(self, batch: Any, model: nn.Module) -> Tensor:
        return self.compute_train_loss(batch, model)


def self_scores(bench: Bench, folder: str) -> Callable[[], object]:
    """Fit the diagonal on four batches, then return what scores these four batches."""
    count, batch = 4 * bench.case.batch, bench.case.batch
    data = TensorDataset(bench.x[:count], bench.y[:count])
    task = Classification()
    model = prepare_model(copy.deepcopy(bench.model), task)
    analyzer = Analyzer("bench", model, task, cpu=True, output_dir=folder, disable_tqdm=True, disable_model_save=True)
    factors = FactorArguments(strategy="diagonal", use_empirical_fisher=True)
    analyzer.fit_all_factors("diagonal", data, per_device_batch_size=batch, factor_args=factors)

    def run() -> object:
        return analyzer.compute_self_scores(
            "scores", "diagonal", data, per_device_train_batch_size=batch, score_args=ScoreArguments(),
            overwrite_output_dir=True,
        )  # fmt: skip

    return run
