"""The `tune` job: to a minimum (VM) or a flat minimum (FVM) of the clean validation set's loss."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.data.registry import open_named
from fvm_core.data.validation import check_names, check_validation, with_names_of
from fvm_core.distributed.batch_loss import ShareLoss, check_shares, with_averaged_gradients
from fvm_core.distributed.batchnorm import synchronised
from fvm_core.distributed.lockstep import lockstep
from fvm_core.distributed.meeting import agree, first, meet
from fvm_core.distributed.workers import workers_of
from fvm_core.jobs.context import JobContext
from fvm_core.models.checkpoint import load_model, save_weights
from fvm_core.models.store import ModelRecord
from fvm_core.provenance import digest, now
from fvm_core.tuning.batches import Batches, derived_seed, step_generator
from fvm_core.tuning.feed import Feed, describe, open_feed
from fvm_core.tuning.loop import Loop, run_loop
from fvm_core.tuning.make_solver import make_solver, remedy
from fvm_core.tuning.measure import Measurements
from fvm_core.tuning.output import Output
from fvm_core.tuning.precision import Precision, pick_device, resolve_precision
from fvm_core.tuning.schedule import cosine
from fvm_core.tuning.settings import TuneSettings, effective
from fvm_core.tuning.setup import check_batches, environment, make_optimizer, place
from fvm_core.tuning.solver import LossFunction
from fvm_core.tuning.solvers import role_of
from fvm_core.workspace import Workspace


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Tune `args["model"]` on `args["validation"]` under `args["settings"]`; keep it as `args["name"]`.

    `args["dataset"]` (may be null) names the noisy training set whose loss is watched. Writes train_loss and lr every
    step, and the measurements of `Measurements` when due. The new model has role `vm` (sgd) or `fvm` (any
    other solver) and `settings.snapshots` kept weights. Returns the model's name, final metrics and notes.

    Several workers (`fvm_core.distributed`) share each batch; worker 0 alone measures and keeps. The weights are those
    of one process up to rounding, but for the masks of dropout.

    Raises:
        FVMError: data, settings or name cannot be used, or the loss diverged.
        JobStopped: the person asked to stop; the job can be resumed.
    """
    settings: TuneSettings = TuneSettings.from_json(dict(args["settings"]))
    workers = workers_of(context)
    with first(context, "claimed"):
        output = Output.claim(context, workspace, args["name"])
        if (finished := output.published()) is not None:
            return {"model": finished.name, "metrics": dict(finished.metrics), "notes": output.renamed(finished)}
    precision = resolve_precision(settings.precision, pick_device())
    base, parent = load_model(workspace, args["model"], allow_custom=bool(args.get("allow_custom")))
    names, classes = parent.spec.class_names, parent.spec.num_classes
    validation = with_names_of(open_named(workspace, args["validation"]), names, num_classes=classes)
    check_validation(validation, classes, class_names=names)
    noisy = open_named(workspace, args["dataset"]) if args.get("dataset") else None
    if noisy is not None:
        check_names(noisy, names, what="training set", num_classes=classes)
    with torch.random.fork_rng():
        model, convolutional = place(base, precision.device)
        options: dict[str, Any] = {"device": precision.device, "channels_last": convolutional}
        feed = open_feed(validation, parent.spec, workspace, context, what="validation set", **options)
        noisy_feed = None
        if noisy is not None:
            noisy_feed = open_feed(noisy, parent.spec, workspace, context, what="training set", **options)
        measurements = Measurements(settings, feed, noisy_feed)
        tuning = Tuning(context, output, settings, precision, model, feed, measurements)
        identity = digest([effective(settings.to_json()), parent.sha256, validation.fingerprint, precision.used])
        agree(context, "identity", identity, what="data or settings")
        with synchronised(model, workers):
            run_loop(lockstep(context), tuning.loop(identity))
        if not workers.leads:
            return {}
        metrics = measurements.losses(model, live=False)
    record = ModelRecord(
        name=output.name,
        role=role_of(settings.solver),
        spec=parent.spec,
        parent=parent.name,
        parent_sha256=parent.sha256,
        dataset=describe(args["dataset"], noisy) if noisy is not None else parent.dataset,
        validation=describe(args["validation"], validation),
        settings={**settings.to_json(), **environment(precision)},
        snapshots=tuple({"step": step, "file": snapshot_file(step)} for step in snapshot_steps(settings)),
        metrics=metrics,
        job=output.job,
        created=now(),
    )
    record = output.publish(model, record)
    notes = [*([precision.note] if precision.note else []), *output.renamed(record)]
    return {"model": record.name, "metrics": metrics, "notes": notes}


def snapshot_steps(settings: TuneSettings) -> list[int]:
    """Return the steps after which weights are kept: evenly spaced, 0 and the last among them.

    >>> snapshot_steps(TuneSettings())
    [0, 200, 400, 600, 800, 1000]
    """
    return sorted({round(step) for step in np.linspace(0, settings.steps, settings.snapshots).tolist()})


def snapshot_file(step: int) -> str:
    """Return the snapshot's path below the model's folder."""
    return f"snapshots/step_{step:06d}.safetensors"


@dataclass(frozen=True)
class BatchLoss:
    """The mean cross-entropy of one batch under `model`, for the solvers (see `solver.LossFunction`).

    Every call seeds dropout from `seed`, so that all passes of a step over the same rows draw the same mask; other rows
    draw another one.
    """

    model: nn.Module
    x: Tensor
    y: Tensor
    precision: Precision
    seed: int

    @property
    def size(self) -> int:
        return len(self.y)

    def __call__(self, rows: slice | None = None) -> Tensor:
        chosen = slice(0, self.size) if rows is None else rows
        torch.manual_seed(self.seed + chosen.start)
        with self.precision.autocast():
            return F.cross_entropy(self.model(self.x[chosen]), self.y[chosen])


@dataclass(frozen=True)
class Tuning:
    """The moving parts of one tuning."""

    context: JobContext
    output: Output
    settings: TuneSettings
    precision: Precision
    model: nn.Module
    feed: Feed
    measurements: Measurements

    def loop(self, identity: str) -> Loop:
        """Return the loop over `steps` steps of the solver, each on one batch of the validation set."""
        settings = self.settings
        batches = Batches(len(self.feed), settings.batch_size, settings.seed)
        draws = settings.lpf_draws if settings.solver == "lpf" else 1
        check_batches(batches, self.model, "validation set", draws=draws)
        optimizer, solver = make_optimizer(self.model, settings), make_solver(settings)
        workers, loss_of = workers_of(self.context), self.losses(batches, draws)

        def step(k: int) -> float:
            with workers.guarded():
                loss = solver.step(self.model, optimizer, loss_of(k), k=k)
            return workers.sum_(loss / workers.size).item()

        return Loop(
            model=self.model,
            optimizer=optimizer,
            steps=settings.steps,
            step=step,
            lr=lambda k: cosine(k, lr=settings.lr, steps=settings.steps),
            after=self.after if workers.leads else lambda done, loss: None,
            save_every=settings.save_every,
            identity=identity,
            hint=remedy(settings),
            solver=solver,
        )

    def losses(self, batches: Batches, draws: int) -> Callable[[int], LossFunction]:
        """Return what gives the loss of step k: of its whole batch, or of this worker's share of it."""
        seed, workers = self.settings.seed, workers_of(self.context)

        def fetch(k: int, rows: slice) -> tuple[Tensor, Tensor]:
            if not self.settings.augment:
                return self.feed.batch(batches.at(k)[rows])
            x, y = self.feed.batch(batches.at(k), generator=step_generator(seed, k))  # the draws are the batch's
            return x[rows], y[rows]

        def whole(k: int) -> LossFunction:
            x, y = fetch(k, slice(None))
            return BatchLoss(self.model, x, y, self.precision, derived_seed(seed, k))

        if workers.size == 1:
            return whole
        check_shares(batches.smallest, workers, draws=draws)
        example, _ = fetch(0, slice(0, 1))
        meet(self.context, "model")
        shared = with_averaged_gradients(self.model, example)

        def share(k: int) -> LossFunction:
            rows, autocast = partial(fetch, k), self.precision.autocast
            return ShareLoss(shared, rows, len(batches.at(k)), workers, autocast, derived_seed(seed, k))

        return share

    def after(self, done: int, loss: float | None) -> None:
        """Report after `done` steps, measure what is due, keep the weights if a snapshot is due."""
        steps = self.settings.steps
        text = f"step {done} of {steps}"
        self.context.progress(done, steps, text if loss is None else f"{text}, loss {loss:.3f}")
        values = {} if loss is None else {"train_loss": loss, "lr": cosine(done - 1, lr=self.settings.lr, steps=steps)}
        values |= self.measurements.at(self.model, done)
        if done in snapshot_steps(self.settings):
            save_weights(self.output.path(*snapshot_file(done).split("/")), self.model)
        if values:
            self.context.metric(done, **values)
