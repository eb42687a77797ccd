"""The `retrain` job: the same recipe and seed on the labels before and after a review, compared on clean images."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from typing import Any

import numpy as np

from fvm_core.data.registry import open_named
from fvm_core.data.validation import check_validation, with_names_of
from fvm_core.errors import SettingsError
from fvm_core.files import read_json, write_json
from fvm_core.jobs.context import JobContext
from fvm_core.jobs.nested import NestedContext
from fvm_core.models.checkpoint import load_model
from fvm_core.models.store import ModelRecord, read_record
from fvm_core.tuning import train
from fvm_core.tuning.before_after import compare, right_answers
from fvm_core.tuning.feed import open_feed
from fvm_core.tuning.precision import pick_device
from fvm_core.tuning.settings import TRAIN_PRESETS, TrainSettings
from fvm_core.tuning.setup import place
from fvm_core.workspace import Workspace

SCALE = 100


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Train on the corrected labels as the base model was trained on the given ones, and compare both on clean images.

    `args`: "base" (a model of the workspace), "dataset" and "corrected" (names: the same images with the labels before
    and after), "validation" (name of the clean set), "name" of the new model, "preset" (a key of TRAIN_PRESETS, used
    where the base's own recipe is not known), "allow_custom".

    The base is the model before if it was trained by a `train` job on `dataset`; otherwise one is trained first, called
    NAME-before, so that only the labels differ. Returns {"model", "before", "changed": labels that differ,
    "comparison": see `before_after.compare`, "notes"}.

    Raises:
        SettingsError: the two datasets are not the same images, or no recipe. FVMError: as the `train` job.
        JobStopped: the person asked to stop; the job goes on from there later.
    """
    record = read_record(workspace, args["base"])
    dataset, corrected = (open_named(workspace, args[key]) for key in ("dataset", "corrected"))
    if not np.array_equal(dataset.ids, corrected.ids) or dataset.source.identity() != corrected.source.identity():
        raise SettingsError(
            f"`corrected` must hold the images of `dataset` in the same order, but {args['corrected']!r} and "
            f"{args['dataset']!r} differ. Choose the dataset that was reviewed."
        )
    changed = int((dataset.labels != corrected.labels).sum())
    if changed == 0:
        raise SettingsError("`corrected` must have at least one label that `dataset` has not, but has none. Review.")
    settings = recipe(record, args.get("preset"))
    own = trained_on(record, dataset.fingerprint)
    shared = {
        "model": record.spec.to_json(), "settings": settings.to_json(), "validation": args["validation"],
        "allow_custom": bool(args.get("allow_custom")),
    }  # fmt: skip
    notes = [] if own else [f"`{record.name}` was not trained here on these labels: a model before was trained too"]
    cut = 0 if own else SCALE // 2
    before = record.name
    if not own:
        before = _train(context, workspace, "before", 0, cut, {**shared, "dataset": args["dataset"],
                        "name": f"{str(args['name'])[:56]}-before"}, notes)  # fmt: skip
    after = _train(context, workspace, "after", cut, SCALE, {**shared, "dataset": args["corrected"],
                   "name": args["name"]}, notes)  # fmt: skip
    context.progress(1000 * SCALE, 1000 * SCALE, "comparing on clean images")
    comparison = _compare(context, workspace, before, after, args)
    return {"model": after, "before": before, "changed": changed, "comparison": comparison, "notes": notes}


def recipe(record: ModelRecord, preset: Any = None) -> TrainSettings:
    """Return the settings that the model was trained with, else those of `preset`. Raises SettingsError for neither."""
    known = {item.name for item in fields(TrainSettings)}
    if record.role == "base" and known <= set(record.settings):
        return TrainSettings.from_json({key: value for key, value in record.settings.items() if key in known})
    if preset not in TRAIN_PRESETS:
        raise SettingsError(
            f"`preset` must be one of {list(TRAIN_PRESETS)}, for model {record.name!r} was not trained here and its "
            f"recipe is not known; got {preset!r}."
        )
    return TRAIN_PRESETS[preset]


def trained_on(record: ModelRecord, fingerprint: str) -> bool:
    """Return whether the model comes from a `train` job on the dataset with this fingerprint."""
    return record.role == "base" and record.dataset.get("fingerprint") == fingerprint


def _train(
    context: JobContext, workspace: Workspace, part: str, start: int, end: int, args: dict[str, Any], notes: list[str]
) -> str:
    """Train one of the two models, unless a run before has done so; return its name."""
    nested = NestedContext(context, name=part, start=start, end=end, scale=SCALE)
    done = nested.folder / "result.json"
    try:
        if not done.exists():
            write_json(done, train.run(nested, args, workspace))
    finally:
        nested.close()
    said = read_json(done, what="result of a training")
    notes += [note for note in said["notes"] if note not in notes]
    return str(said["model"])


def _compare(
    context: JobContext, workspace: Workspace, before: str, after: str, args: Mapping[str, Any]
) -> dict[str, Any]:
    device = pick_device()
    answers = []
    for name in (before, after):
        model, record = load_model(workspace, name, allow_custom=bool(args.get("allow_custom")))
        model, convolutional = place(model, device)
        spec = record.spec
        clean = with_names_of(open_named(workspace, args["validation"]), spec.class_names, num_classes=spec.num_classes)
        check_validation(clean, spec.num_classes, class_names=spec.class_names)
        feed = open_feed(
            clean, spec, workspace, context, what="clean set", device=device, channels_last=convolutional
        )  # fmt: skip
        answers.append(right_answers(model, feed))
    return compare(answers[0], answers[1], np.asarray(clean.labels)[feed.usable], clean.class_names)
