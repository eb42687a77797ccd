"""Order and random numbers are functions of seed and position alone."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from fvm_core.tuning.batches import Batches, derived_seed, epoch_order, fixed_sample, step_generator


@pytest.mark.parametrize(("n", "batch_size"), [(10_000, 128), (1, 128), (127, 128), (129, 128), (50, 7), (5, 1)])
def test_an_epoch_holds_each_sample_once_in_even_batches(n: int, batch_size: int) -> None:
    batches = Batches(n, batch_size, seed=3)
    epoch = [batches.at(batches.per_epoch * 2 + k) for k in range(batches.per_epoch)]
    assert sorted(np.concatenate(epoch)) == list(range(n))
    sizes = {len(batch) for batch in epoch}
    assert max(sizes) <= batch_size and max(sizes) - min(sizes) <= 1
    assert batches.smallest == min(sizes)


def test_a_step_s_batch_does_not_depend_on_what_was_asked_before() -> None:
    forwards = [Batches(50, 7, seed=1).at(step) for step in range(30)]
    epoch_order.cache_clear()
    backwards = [Batches(50, 7, seed=1).at(step) for step in reversed(range(30))][::-1]
    assert all(np.array_equal(a, b) for a, b in zip(forwards, backwards, strict=True))


def test_seed_and_epoch_change_the_order() -> None:
    orders = [epoch_order(100, seed=seed, epoch=epoch).tolist() for seed in (0, 1) for epoch in (0, 1)]
    assert len({tuple(order) for order in orders}) == 4


def test_step_generators_differ_by_seed_and_step_and_repeat() -> None:
    draws = {
        (seed, step): torch.rand(4, generator=step_generator(seed, step)).tolist() for seed in (0, 1) for step in (0, 1)
    }
    assert len({tuple(value) for value in draws.values()}) == 4
    assert torch.rand(4, generator=step_generator(1, 1)).tolist() == draws[1, 1]
    assert derived_seed(0, 1) != derived_seed(0, 1, purpose=3)


def test_fixed_sample_is_a_sorted_subset_without_repeats() -> None:
    sample = fixed_sample(1000, 64, seed=0)
    assert len(np.unique(sample)) == 64 and np.array_equal(sample, np.sort(sample))
    assert fixed_sample(5, 64, seed=0).tolist() == [0, 1, 2, 3, 4]
