"""Tuning of a LoRA adapter: on the training pairs, or further to a minimum (VM, AdamW) or a flat minimum (FVM, AdamW
under LPF) of the validation pairs (paper B.2)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import torch
from torch import Tensor, nn

from fvm_core.generation.lora import Adapter, lora_parameters
from fvm_core.generation.lora_gradients import batches_of
from fvm_core.generation.memory import told_when_full
from fvm_core.generation.settings import LoraSettings
from fvm_core.generation.task import GenerationTask
from fvm_core.jobs.context import JobContext
from fvm_core.tuning.batches import DIRECTIONS, Batches, derived_seed, fixed_sample
from fvm_core.tuning.evaluate import eval_mode
from fvm_core.tuning.loop import Loop
from fvm_core.tuning.lpf import Lpf
from fvm_core.tuning.schedule import cosine
from fvm_core.tuning.sgd import Sgd
from fvm_core.tuning.sharpness import measure_sharpness
from fvm_core.tuning.solver import Solver


@dataclass(frozen=True)
class PairLoss:
    """The mean loss of the pairs at `positions` (see `tuning.solver.LossFunction`), computed `piece` pairs at a time.

    With more than one piece the value carries the exact gradient without the graphs of all pieces at once: memory is
    that of one piece. Pairs of like length go together, so that little is padding.
    """

    task: GenerationTask
    positions: Sequence[int]
    piece: int

    @property
    def size(self) -> int:
        return len(self.positions)

    def __call__(self, rows: slice | None = None) -> Tensor:
        chosen = list(self.positions[slice(None) if rows is None else rows])
        with told_when_full("`micro_batch`"):
            if len(chosen) <= self.piece:
                return self.task.losses(self.task.batch(chosen)).mean()
            pairs = self.task.pairs
            chosen.sort(key=lambda row: len(pairs.prompts[row]) + len(pairs.targets[row]))
            values = list(lora_parameters(self.task.model).values())
            total, sums = 0.0, [torch.zeros_like(value) for value in values]
            for part in batches_of(len(chosen), self.piece):
                loss = self.task.losses(self.task.batch([chosen[place] for place in part])).sum() / len(chosen)
                for target, grad in zip(sums, torch.autograd.grad(loss, values, allow_unused=True), strict=True):
                    if grad is not None:
                        target += grad
                total += float(loss.detach())
        carried = torch.stack([(value * grad).sum() for value, grad in zip(values, sums, strict=True)]).sum()
        return carried - carried.detach() + total


@dataclass(frozen=True)
class LoraTuning:
    """The moving parts of one tuning. `task` holds the pairs that are tuned on; `training`, `validation` are the same
    model over either set, for what is watched (None: not watched)."""

    context: JobContext
    task: GenerationTask
    training: GenerationTask | None
    validation: GenerationTask | None
    settings: LoraSettings

    @property
    def batches(self) -> Batches:
        """The batches of all epochs."""
        return Batches(len(self.task.pairs), self.settings.batch_size, self.settings.seed)

    @property
    def steps(self) -> int:
        """The number of steps."""
        return self.settings.total_steps(self.batches.per_epoch)

    def loop(self, identity: str) -> Loop:
        """Return the loop over all steps of AdamW, its learning rate on a cosine from `settings.rate` to 0."""
        settings, batches, steps = self.settings, self.batches, self.steps
        adapter = Adapter(self.task.model)
        optimizer = torch.optim.AdamW(adapter.parameters(), lr=settings.rate, weight_decay=settings.weight_decay)
        solver: Solver = Sgd(clip_norm=settings.clip_norm)
        if settings.role == "fvm":
            solver = Lpf(
                gamma=settings.gamma, draws=settings.draws, seed=settings.seed, steps=steps,
                clip_norm=settings.clip_norm,
            )  # fmt: skip

        def step(k: int) -> float:
            rows = [int(row) for row in batches.at(k)]
            redrawn = getattr(self.task, "redrawn", None)  # a diffusion model's noise is new in each step (B.3)
            task: GenerationTask = redrawn(k) if redrawn else self.task
            with eval_mode(self.task.model):
                return solver.step(self.task.model, optimizer, PairLoss(task, rows, settings.micro_batch), k=k).item()

        return Loop(
            model=adapter,
            optimizer=optimizer,
            steps=steps,
            step=step,
            lr=lambda k: cosine(k, lr=settings.rate, steps=steps),
            after=self.after,
            save_every=settings.save_every,
            identity=identity,
            hint=f"Try a lower `lr` than {settings.rate}.",
            solver=solver,
        )

    def after(self, done: int, loss: float | None) -> None:
        """Report after `done` steps: train_loss (of the batch) and lr, and what is due of `losses` and `sharpness`."""
        text = f"step {done} of {self.steps}"
        self.context.progress(done, self.steps, text if loss is None else f"{text}, loss {loss:.3f}")
        values = {}
        if loss is not None:
            values = {"train_loss": loss, "lr": cosine(done - 1, lr=self.settings.rate, steps=self.steps)}
        if self._due(done, self.settings.eval_every):
            values |= self.losses(self.settings.probe_size)
        if self._due(done, self.settings.sharpness_every):
            values |= self.sharpness(done)
        if values:
            self.context.metric(done, **values)

    def losses(self, size: int | None = None) -> dict[str, float]:
        """Return noisy_loss and val_loss, the mean losses of training and validation pairs (of `size` fixed ones)."""
        found = {}
        for name, task in (("noisy_loss", self.training), ("val_loss", self.validation)):
            if task is not None:
                rows = probe(task, size, self.settings.seed)
                found[name] = float(np.mean(losses_of(task, rows, batch_size=self.settings.micro_batch)))
        return found

    def sharpness(self, done: int) -> dict[str, float]:
        """Return sam_gap and random_sharpness of the validation loss in LoRA's parameters (`measure_sharpness`)."""
        if self.validation is None:
            return {}
        settings, task = self.settings, self.validation
        rows = probe(task, settings.probe_size, settings.seed)
        pieces = [[rows[place] for place in part] for part in batches_of(len(rows), settings.micro_batch)]
        found = measure_sharpness(
            task.model,
            [partial(_share, task=task, rows=piece, total=len(rows)) for piece in pieces],
            rho=settings.sharpness_rho,
            directions=settings.directions,
            seed=derived_seed(settings.seed, done, purpose=DIRECTIONS),
        )
        return {"sam_gap": found.sam_gap, "random_sharpness": found.random}

    def _due(self, done: int, every: int) -> bool:
        return every > 0 and (done % every == 0 or done == self.steps)


def probe(task: GenerationTask, size: int | None, seed: int) -> list[int]:
    """Return the rows of `size` fixed pairs, of all if None."""
    count = len(task.pairs)
    return [int(row) for row in fixed_sample(count, count if size is None else size, seed=seed)]


def losses_of(task: GenerationTask, rows: Sequence[int], *, batch_size: int) -> list[float]:
    """Return the loss of each of the pairs at `rows`, in eval mode and without gradients."""
    found: list[float] = []
    with told_when_full("the batch size"), eval_mode(task.model), torch.no_grad():
        for part in batches_of(len(rows), batch_size):
            found += task.losses(task.batch([rows[place] for place in part])).tolist()
    return found


def _share(model: nn.Module, *, task: GenerationTask, rows: list[int], total: int) -> Tensor:
    return task.losses(task.batch(rows)).sum() / total
