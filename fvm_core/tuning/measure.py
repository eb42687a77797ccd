"""What is watched while a model is tuned. Measuring never changes the run: weights, statistics, random numbers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.tuning.batches import DIRECTIONS, derived_seed, fixed_sample
from fvm_core.tuning.evaluate import evaluate
from fvm_core.tuning.feed import Feed
from fvm_core.tuning.hessian import top_eigenvalue
from fvm_core.tuning.settings import TuneSettings
from fvm_core.tuning.sharpness import measure_sharpness

LIVE_SAMPLES = 2000
PROBE_BATCH = 128
HESSIAN_SAMPLES = 128


@dataclass(frozen=True)
class Measurements:
    """Measures a model in eval mode and fp32, each quantity when its `*_every` steps are over, and first and last.

    val_loss, val_accuracy: of 2,000 fixed validation samples. sam_gap, random_sharpness, top_eigenvalue: of a fixed
    probe of `probe_size` validation samples, at the radius `measured_rho` for SGD too, so that VM and FVM can be
    compared; the eigenvalue of 128 of them, for its dozen products would take longer than the tuning otherwise.
    noisy_loss: of `probe_size` fixed samples of the noisy training set, if there is one.
    """

    settings: TuneSettings
    validation: Feed
    noisy: Feed | None

    def at(self, model: nn.Module, done: int) -> dict[str, float]:
        """Return what is due after `done` steps."""
        settings = self.settings
        values: dict[str, float] = {}
        if self._due(done, settings.eval_every):
            values |= self.losses(model, live=True)
        if self._due(done, settings.sharpness_every):
            found = measure_sharpness(
                model,
                [partial(_share, x=x, y=y, total=len(self._probe)) for x, y in self._probe_batches()],
                rho=settings.measured_rho,
                directions=settings.directions,
                seed=derived_seed(settings.seed, done, purpose=DIRECTIONS),
            )
            values |= {"sam_gap": found.sam_gap, "random_sharpness": found.random}
        if self._due(done, settings.hessian_every):
            chosen = fixed_sample(len(self._probe), HESSIAN_SAMPLES, seed=settings.seed)
            batch = self.validation.batch(self._probe[chosen])
            values["top_eigenvalue"] = top_eigenvalue(model, [batch], seed=settings.seed).value
        return values

    def losses(self, model: nn.Module, *, live: bool) -> dict[str, float]:
        """Return val_loss, val_accuracy and noisy_loss; the first two of all validation samples unless `live`."""
        size, seed = len(self.validation), self.settings.seed
        positions = fixed_sample(size, LIVE_SAMPLES, seed=seed) if live else np.arange(size)
        val_loss, val_accuracy = evaluate(model, self.validation.batch, positions)
        values = {"val_loss": val_loss, "val_accuracy": val_accuracy}
        if self.noisy is not None:
            sample = fixed_sample(len(self.noisy), self.settings.probe_size, seed=seed)
            values["noisy_loss"], _ = evaluate(model, self.noisy.batch, sample)
        return values

    def _due(self, done: int, every: int) -> bool:
        return every > 0 and (done % every == 0 or done == self.settings.steps)

    @cached_property
    def _probe(self) -> np.ndarray:
        return fixed_sample(len(self.validation), self.settings.probe_size, seed=self.settings.seed)

    def _probe_batches(self) -> Sequence[tuple[Tensor, Tensor]]:
        return [
            self.validation.batch(self._probe[start : start + PROBE_BATCH])
            for start in range(0, len(self._probe), PROBE_BATCH)
        ]


def _share(model: nn.Module, *, x: Tensor, y: Tensor, total: int) -> Tensor:
    return F.cross_entropy(model(x), y, reduction="sum") / total
