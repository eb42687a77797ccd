"""One member of an ensemble: a copy of a model tuned on the validation set, used and thrown away."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.swa_utils import update_bn

from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.tuning.batches import Batches, derived_seed
from fvm_core.tuning.feed import Feed
from fvm_core.tuning.loop import Loop, run_loop
from fvm_core.tuning.schedule import cosine
from fvm_core.tuning.settings import TuneSettings
from fvm_core.tuning.setup import check_batches, make_optimizer
from fvm_core.tuning.sgd import Sgd


def tune_member(
    context: JobContext,
    model: nn.Module,
    feed: Feed,
    settings: TuneSettings,
    *,
    identity: str,
    told: Callable[[int], None],
) -> None:
    """Tune `model` in place by SGD with momentum and a cosine (the steps of VM, in fp32), then refresh its BatchNorm
    statistics; it ends in eval mode. Nothing is measured, snapshot or published.

    The members of one ensemble differ by `settings.seed` alone, the order of the batches (and dropout's masks).
    `context` keeps the loop's state under `identity`, so that a member that was cut goes on where it stood.
    `told(done)` is called after each step.

    Raises:
        JobStopped: the person asked to stop; the state was kept before.
        SettingsError: the loss became NaN or infinite.
    """
    batches = Batches(len(feed), settings.batch_size, settings.seed)
    model.train()
    check_batches(batches, model, "validation set")
    optimizer, solver = make_optimizer(model, settings), Sgd()

    def step(k: int) -> float:
        torch.manual_seed(derived_seed(settings.seed, k))
        x, y = feed.batch(batches.at(k))
        return solver.step(model, optimizer, lambda: F.cross_entropy(model(x), y), k=k).item()

    def after(done: int, loss: float | None) -> None:
        with suppress(JobStopped):  # the loop asks again before its next step, and keeps its state then
            told(done)

    with torch.random.fork_rng():
        run_loop(
            context,
            Loop(
                model=model, optimizer=optimizer, steps=settings.steps, step=step, after=after, identity=identity,
                lr=lambda k: cosine(k, lr=settings.lr, steps=settings.steps), save_every=settings.save_every,
                hint=f"Try a lower rate than {settings.lr} for the members.",
            ),
        )  # fmt: skip
        torch.manual_seed(derived_seed(settings.seed, settings.steps))
        refresh_statistics(model, feed, batches)
    model.eval()


def refresh_statistics(model: nn.Module, feed: Feed, batches: Batches) -> None:
    """Set BatchNorm's running mean and variance to the average of those of all batches of one epoch, in place.

    One forward pass over the feed in train mode, each batch with the same weight (`update_bn` of torch): the statistics
    then belong to the last weights, not to those along the way. A model without BatchNorm stays as it is.
    """

    def epoch() -> Iterator[tuple[Tensor, Tensor]]:
        for k in range(batches.per_epoch):
            yield feed.batch(batches.at(k))

    update_bn(epoch(), model)
