"""What a scoring job works on: the model, the two datasets, the rows, and where all of it comes from."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor, nn

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.registry import open_named
from fvm_core.data.validation import check_names, check_validation, with_names_of
from fvm_core.distributed.workers import ALONE, Workers
from fvm_core.errors import SettingsError
from fvm_core.files import file_sha256, slug
from fvm_core.influence.methods import DEFAULT_METHODS, METHODS
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.settings import ScoreSettings
from fvm_core.influence.store import default_run
from fvm_core.jobs.context import JobContext
from fvm_core.models.checkpoint import load_model
from fvm_core.models.spec import require_classes
from fvm_core.models.store import WEIGHTS_FILE, ModelRecord, checkpoint_at, model_folder, read_record
from fvm_core.provenance import digest, machine, now, version
from fvm_core.tuning.feed import Feed, describe, open_feed
from fvm_core.tuning.precision import fit_threads, pick_device
from fvm_core.workspace import Workspace

LISTED = 20


@dataclass(frozen=True)
class MadeFisher:
    """{parameter: float64 Fisher of the validation set under `model`, on the CPU}, and the seconds that it took."""

    model: nn.Module
    fisher: Mapping[str, Tensor]
    seconds: float


@dataclass
class Shared:
    """What one pass of a job has made for the passes after it."""

    fisher: MadeFisher | None = None


@dataclass(frozen=True)
class Task:
    """`rows` are positions in `train` (usable samples), ascending: the samples to score.

    `context` is the job's: its folder, and whether to stop. `epoch` is that of the checkpoint which is scored, None for
    the final weights. `load(file)` gives the model with other weights out of its record, on the same device.
    """

    run: str
    methods: tuple[str, ...]
    settings: ScoreSettings
    model: nn.Module
    record: ModelRecord
    dataset: LabeledImages
    train: Feed
    validation: Feed
    rows: NDArray[np.int64]
    described: Mapping[str, Any]
    context: JobContext
    load: Callable[[str], nn.Module]
    epoch: int | None = None
    notes: tuple[str, ...] = ()
    shared: Shared = field(default_factory=Shared)

    def engine(self) -> SquaredGradients:
        """Return what squares this model's gradients, in the precision that the settings ask for."""
        example, _ = self.train.batch(self.rows[: min(5, len(self.rows))])
        return SquaredGradients(self.model, example, precision=self.settings.precision)

    @property
    def made_fisher(self) -> MadeFisher | None:
        """Return the Fisher that an earlier pass has made of this very model."""
        made = self.shared.fisher
        return made if made is not None and made.model is self.model else None

    @property
    def classes(self) -> int:
        """Return c, the classes of the training set; a wider head's further outputs are never suggested."""
        return self.dataset.num_classes

    @cached_property
    def plan(self) -> str:
        """Return the digest of everything that decides the scores."""
        rows = hashlib.sha256(np.ascontiguousarray(self.train.usable[self.rows]).tobytes()).hexdigest()
        return digest({**self.described, "settings": self.settings.to_json(), "rows": rows, "version": version()})

    def validation_batches(self, workers: Workers = ALONE) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield the whole validation set once, in order; to one of several workers, its share of it."""
        share = workers.share(len(self.validation))
        for start in range(share.start, share.stop, self.settings.batch_size):
            stop = min(start + self.settings.batch_size, share.stop)
            yield self.validation.batch(np.arange(start, stop))

    def training_batch(self, step: int) -> tuple[Tensor, Tensor]:
        """Return mini-batch `step` of the whole training set: random rows, a pure function of seed and step."""
        size = min(self.settings.batch_size, len(self.train))
        generator = np.random.default_rng([self.settings.seed, step])
        return self.train.batch(np.sort(generator.choice(len(self.train), size, replace=False)))

    def provenance(self, method: str, **more: Any) -> dict[str, Any]:
        """Return what goes into a score file's metadata; `more` holds seconds, rates and further notes."""
        notes = [*self.notes, *more.pop("notes", ())]
        solver = self.record.settings.get("solver")
        model = {**self.described["model"], **({"solver": solver} if solver else {})}
        return {
            **self.described, "model": model, "method": method, "settings": self.settings.to_json(),
            "seed": self.settings.seed, "version": version(), "created": now(), "machine": machine(),
            "class_names": list(self.dataset.class_names), "notes": notes, **more,
        }  # fmt: skip


def chosen_methods(value: Any) -> tuple[str, ...]:
    """Return the methods in the order of METHODS. Raises SettingsError for none or an unknown one."""
    wanted = list(value) if isinstance(value, list | tuple) else []
    unknown = [item for item in wanted if item not in METHODS]
    if unknown or not wanted:
        raise SettingsError(f"`methods` must be some of {list(METHODS)}, got {value!r}.")
    return tuple(key for key in METHODS if key in wanted)


def open_task(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> Task:
    """Load the model, open and decode both datasets, draw the rows.

    `args["checkpoint"]` is an epoch of the model's training: its weights are scored then, not the final ones.

    Raises:
        FVMError: a name, setting, label or image cannot be used; the message says which and what to do.
    """
    settings = ScoreSettings.from_json(args.get("settings") or {})
    methods = chosen_methods(args.get("methods", list(DEFAULT_METHODS)))
    device = pick_device()
    custom, epoch = bool(args.get("allow_custom")), args.get("checkpoint")
    model, record, origin = _weights(workspace, str(args["model"]), epoch, custom)
    model = model.to(device)
    fit_threads(sum(parameter.numel() for parameter in model.parameters()), device)
    dataset, validation = (open_named(workspace, str(args[key])) for key in ("dataset", "validation"))
    classes = record.spec.num_classes
    check_names(dataset, record.spec.class_names, what="training set", num_classes=classes)
    require_classes(record.spec, dataset.class_names)
    validation = with_names_of(validation, record.spec.class_names or dataset.class_names, num_classes=classes)
    check_validation(validation, record.spec.num_classes)
    feeds = [
        open_feed(data, record.spec, workspace, context, what=what, device=device, channels_last=False)
        for data, what in ((dataset, "training set"), (validation, "validation set"))
    ]
    described = {
        "model": origin,
        "dataset": describe(str(args["dataset"]), dataset),
        "validation": describe(str(args["validation"]), validation),
    }
    rows = np.arange(len(feeds[0]), dtype=np.int64)
    if settings.limit is not None and settings.limit < len(rows):
        rows = np.sort(np.random.default_rng(settings.seed).choice(rows, settings.limit, replace=False))
    notes = (
        *_left_out(feeds[0], dataset, "training set"), *_left_out(feeds[1], validation, "validation set"),
        *_names(dataset, validation, record),
    )  # fmt: skip
    run = slug(str(args.get("run") or default_run(record.name, epoch)))

    def load(file: str) -> nn.Module:
        return load_model(workspace, record.name, file=file, allow_custom=custom)[0].to(device)

    return Task(
        run, methods, settings, model, record, dataset, feeds[0], feeds[1], rows, described, context, load, epoch, notes
    )


def _weights(
    workspace: Workspace, name: str, epoch: int | None, custom: bool
) -> tuple[nn.Module, ModelRecord, dict[str, Any]]:
    """Return the model with its final weights or those after `epoch`, its record, and what provenance says of it."""
    record = read_record(workspace, name)
    file = WEIGHTS_FILE if epoch is None else str(checkpoint_at(record, epoch)["file"])
    model, record = load_model(workspace, name, file=file, allow_custom=custom)
    origin: dict[str, Any] = {
        "name": record.name, "role": record.role, "sha256": record.sha256, "spec": record.spec.to_json()
    }  # fmt: skip
    if epoch is not None:
        origin |= {"sha256": file_sha256(model_folder(workspace, name) / file), "epoch": epoch}
    return model, record, origin


def _left_out(feed: Feed, dataset: LabeledImages, what: str) -> list[str]:
    aside = feed.cache.set_aside
    if not aside:
        return []
    shown = [f"{dataset.ids[index]} ({reason})" for index, reason in list(aside.items())[:LISTED]]
    more = f" and {len(aside) - LISTED} more" if len(aside) > LISTED else ""
    return [f"{len(aside)} unreadable images of the {what} are left out: {'; '.join(shown)}{more}"]


def _names(dataset: LabeledImages, validation: LabeledImages, record: ModelRecord) -> list[str]:
    notes = []
    if dataset.class_names != validation.class_names:
        notes.append("The class names of training and validation set differ; classes were matched by their number.")
    if record.spec.class_names and record.spec.class_names != dataset.class_names:
        notes.append("The class names of model and training set differ; classes were matched by their number.")
    return notes
