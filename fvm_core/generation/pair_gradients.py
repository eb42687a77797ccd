"""Gradients of many pairs, piece by piece: kept if they fit, computed again if they do not."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import torch
from torch import Tensor

from fvm_core.generation.lora_gradients import Layout, batches_of, sample_gradients
from fvm_core.generation.task import GenerationTask

Tell = Callable[[int, int], None]


def nothing(done: int, total: int) -> None:
    """Tell nobody."""


@dataclass
class PairGradients:
    """The gradients of a task's n pairs in pieces (b, p), as often as they are asked for.

    4 n p bytes are kept if that is at most `keep_bytes`; else every pass computes them anew. `tell(done, total)` is
    called after each piece that is computed, and may raise to stop.
    """

    task: GenerationTask
    layout: Layout
    batch_size: int
    keep_bytes: int
    tell: Tell = nothing
    losses: list[float] = field(default_factory=list)
    _kept: list[Tensor] = field(default_factory=list)

    def __iter__(self) -> Iterator[Tensor]:
        if self._kept:
            yield from self._kept
            return
        count = len(self.task.pairs)
        keep = 4 * count * self.layout.size <= self.keep_bytes
        kept: list[Tensor] = []
        losses: list[float] = []
        for rows in batches_of(count, self.batch_size):
            values, grads = sample_gradients(self.task, rows, self.layout)
            losses += values.tolist()
            if keep:
                kept.append(grads)
            self.tell(rows[-1] + 1, count)
            yield grads
        self.losses, self._kept = losses, kept

    def all(self) -> Tensor:
        """Return them all (n, p), whatever they take."""
        return torch.cat(list(self))
