"""Which samples a step sees, and with which random numbers: pure functions of the seed and the position."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

ORDER, AUGMENT, PROBE, DIRECTIONS, MEMBERS, NOISE = range(1, 7)


@lru_cache(maxsize=4)
def epoch_order(n: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """Return a permutation (n,) of 0..n-1 that depends on `seed` and `epoch` alone. Do not write into it."""
    order = np.random.default_rng([ORDER, seed, epoch]).permutation(n).astype(np.int64)
    order.setflags(write=False)
    return order


@dataclass(frozen=True)
class Batches:
    """Epochs of `n` samples cut into ceil(n / batch_size) batches whose sizes differ by one at most.

    So every sample is seen once an epoch and there is no small last batch to upset BatchNorm: 10,000 samples in
    batches of 128 are 79 batches of 126 or 127. With n <= batch_size each step takes the whole set.

    >>> [len(Batches(10, 4, seed=0).at(step)) for step in range(4)]
    [4, 3, 3, 4]
    """

    n: int
    batch_size: int
    seed: int

    @property
    def per_epoch(self) -> int:
        """Steps in an epoch."""
        return -(-self.n // self.batch_size)

    @property
    def smallest(self) -> int:
        """Samples in the smallest batch."""
        return self.n // self.per_epoch

    def at(self, step: int) -> NDArray[np.int64]:
        """Return the positions (b,) in 0..n-1 that step `step` (from 0) trains on."""
        epoch, place = divmod(step, self.per_epoch)
        size, larger = divmod(self.n, self.per_epoch)
        start = place * size + min(place, larger)
        return epoch_order(self.n, seed=self.seed, epoch=epoch)[start : start + size + (place < larger)].copy()


def derived_seed(seed: int, step: int, *, purpose: int = AUGMENT) -> int:
    """Return a 63-bit seed made from (purpose, seed, step): independent streams without any state to keep."""
    return int(np.random.SeedSequence([purpose, seed, step]).generate_state(1, np.uint64)[0] >> 1)


def step_generator(seed: int, step: int) -> torch.Generator:
    """Return the random generator of the augmentation in step `step`."""
    return torch.Generator().manual_seed(derived_seed(seed, step))


def fixed_sample(n: int, size: int, *, seed: int) -> NDArray[np.int64]:
    """Return min(n, size) sorted positions out of 0..n-1, the same in every step: a probe for measurements."""
    return np.sort(np.random.default_rng([PROBE, seed]).choice(n, size=min(n, size), replace=False)).astype(np.int64)
