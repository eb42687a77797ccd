"""The `train` job: a base model on noisy labels, with the paper's recipe as defaults (B.1)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F

from fvm_core.data.registry import open_named
from fvm_core.data.validation import check_names, check_validation, with_names_of
from fvm_core.jobs.context import JobContext
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import save_weights
from fvm_core.models.spec import ModelSpec, require_classes
from fvm_core.models.store import ModelRecord
from fvm_core.provenance import digest, now
from fvm_core.tuning.batches import Batches, derived_seed, fixed_sample, step_generator
from fvm_core.tuning.evaluate import evaluate
from fvm_core.tuning.feed import Feed, describe, open_feed
from fvm_core.tuning.loop import Loop, run_loop
from fvm_core.tuning.output import Output
from fvm_core.tuning.precision import Precision, pick_device, resolve_precision
from fvm_core.tuning.schedule import train_lr
from fvm_core.tuning.settings import TrainSettings
from fvm_core.tuning.setup import check_batches, environment, make_optimizer, place
from fvm_core.workspace import Workspace

LOG_EVERY = 10
LIVE_SAMPLES = 2000
PROBE_SAMPLES = 512


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Train `args["model"]` (ModelSpec) on `args["dataset"]` under `args["settings"]`; keep it as `args["name"]`.

    Writes the metrics train_loss and lr every 10 steps; val_loss and val_accuracy (of 2,000 fixed validation samples,
    where `args["validation"]` names a dataset) and noisy_loss (512 fixed training samples) after each epoch.
    Returns the model's name, final metrics and notes.

    Raises:
        FVMError: data, settings or name cannot be used, or the loss diverged.
        JobStopped: the person asked to stop; the job can be resumed.
    """
    settings: TrainSettings = TrainSettings.from_json(dict(args["settings"]))
    output = Output.claim(context, workspace, args["name"])
    if (finished := output.published()) is not None:
        return {"model": finished.name, "metrics": dict(finished.metrics), "notes": output.renamed(finished)}
    dataset = open_named(workspace, args["dataset"])
    spec = ModelSpec.from_json(args["model"])
    spec = replace(spec, class_names=spec.class_names or dataset.class_names)
    require_classes(spec, dataset.class_names)
    check_names(dataset, spec.class_names, what="training set", num_classes=spec.num_classes)
    validation = None
    if args.get("validation"):
        validation = open_named(workspace, args["validation"])
        validation = with_names_of(validation, spec.class_names, num_classes=spec.num_classes)
        check_validation(validation, spec.num_classes, class_names=spec.class_names)
    precision = resolve_precision(settings.precision, pick_device())
    with torch.random.fork_rng():
        torch.manual_seed(settings.seed)
        model, convolutional = place(build_model(spec, allow_custom=bool(args.get("allow_custom"))), precision.device)
        options: dict[str, Any] = {"device": precision.device, "channels_last": convolutional}
        feed = open_feed(dataset, spec, workspace, context, what="training set", **options)
        held_out = None
        if validation is not None:
            held_out = open_feed(validation, spec, workspace, context, what="validation set", **options)
        training = Training(context, output, settings, precision, model, feed, held_out)
        identity = digest([settings.to_json(), spec.to_json(), dataset.fingerprint, precision.used])
        run_loop(context, training.loop(identity))
        metrics = training.final_metrics()
    notes = [precision.note] if precision.note else []
    record = ModelRecord(
        name=output.name,
        role="base",
        spec=spec,
        dataset=describe(args["dataset"], dataset),
        validation=describe(args["validation"], validation) if validation is not None else {},
        settings={**settings.to_json(), **environment(precision)},
        checkpoints=training.checkpoints(),
        metrics=metrics,
        job=output.job,
        created=now(),
    )
    record = output.publish(model, record)
    return {"model": record.name, "metrics": metrics, "notes": [*notes, *output.renamed(record)]}


@dataclass(frozen=True)
class Training:
    """The moving parts of one base training."""

    context: JobContext
    output: Output
    settings: TrainSettings
    precision: Precision
    model: nn.Module
    feed: Feed
    held_out: Feed | None

    @property
    def batches(self) -> Batches:
        return Batches(len(self.feed), self.settings.batch_size, self.settings.seed)

    def loop(self, identity: str) -> Loop:
        """Return the loop over epochs * steps-per-epoch steps."""
        settings, batches = self.settings, self.batches
        check_batches(batches, self.model, "training set")
        optimizer = make_optimizer(self.model, settings)

        def step(k: int) -> float:
            torch.manual_seed(derived_seed(settings.seed, k))
            generator = step_generator(settings.seed, k) if settings.augment else None
            x, y = self.feed.batch(batches.at(k), generator=generator)
            optimizer.zero_grad(set_to_none=True)
            with self.precision.autocast():
                loss = F.cross_entropy(self.model(x), y)
            loss.backward()
            optimizer.step()
            return loss.item()

        return Loop(
            model=self.model,
            optimizer=optimizer,
            steps=settings.epochs * batches.per_epoch,
            step=step,
            lr=lambda k: train_lr(k, settings=settings, steps_per_epoch=batches.per_epoch),
            after=self.after,
            save_every=settings.save_every,
            identity=identity,
            hint=f"Try a lower `lr` than {settings.lr}.",
        )

    def after(self, done: int, loss: float | None) -> None:
        """Report after `done` steps, measure after each epoch, keep the weights after each checkpoint epoch."""
        per_epoch = self.batches.per_epoch
        epoch = done // per_epoch
        text = f"epoch {min(epoch + 1, self.settings.epochs)} of {self.settings.epochs}"
        self.context.progress(
            done, self.settings.epochs * per_epoch, text if loss is None else f"{text}, loss {loss:.3f}"
        )
        values: dict[str, float] = {}
        if loss is not None and (done % LOG_EVERY == 0 or done % per_epoch == 0):
            values |= {"train_loss": loss, "lr": self._lr(done - 1)}
        if done % per_epoch == 0:
            values |= self.measure(live=True)
            if epoch in self.settings.checkpoint_epochs:
                save_weights(self.output.path("checkpoints", f"epoch_{epoch:03d}.safetensors"), self.model)
        if values:
            self.context.metric(done, **values)

    def measure(self, *, live: bool) -> dict[str, float]:
        """Return noisy_loss, val_loss and val_accuracy; of 2,000 fixed validation samples if `live`, else of all."""
        seed = self.settings.seed
        noisy_loss, _ = evaluate(self.model, self.feed.batch, fixed_sample(len(self.feed), PROBE_SAMPLES, seed=seed))
        if self.held_out is None:
            return {"noisy_loss": noisy_loss}
        size = len(self.held_out)
        positions = fixed_sample(size, LIVE_SAMPLES, seed=seed) if live else np.arange(size)
        val_loss, val_accuracy = evaluate(self.model, self.held_out.batch, positions)
        return {"noisy_loss": noisy_loss, "val_loss": val_loss, "val_accuracy": val_accuracy}

    def final_metrics(self) -> dict[str, float]:
        return self.measure(live=False)

    def checkpoints(self) -> tuple[dict[str, Any], ...]:
        """Return epoch, file and learning rate (of the epoch's last step) of every kept checkpoint."""
        return tuple(
            {
                "epoch": e,
                "file": f"checkpoints/epoch_{e:03d}.safetensors",
                "lr": self._lr(e * self.batches.per_epoch - 1),
            }
            for e in sorted(set(self.settings.checkpoint_epochs))
            if 1 <= e <= self.settings.epochs
        )

    def _lr(self, step: int) -> float:
        return train_lr(step, settings=self.settings, steps_per_epoch=self.batches.per_epoch)
