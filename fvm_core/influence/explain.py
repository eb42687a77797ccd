"""The explain job: which clean and which training images speak for and against one label of one image (Eq. 20)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch.nn import functional as F

from fvm_core.errors import DataError
from fvm_core.influence.capture import evaluating
from fvm_core.influence.evidence import cost, evidence, looked_at
from fvm_core.influence.explain_settings import SETS, ExplainSettings
from fvm_core.influence.explained_image import ExplainedImage, find_image
from fvm_core.influence.explanations import (
    Question,
    explanation_path,
    read_explanation,
    strongest,
    write_explanation,
)
from fvm_core.influence.fisher_cache import cached_fisher, fisher_path
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.meter import Meter
from fvm_core.influence.passes.curvature import telling
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace

LISTED = 5
CHANGED = {"model": "the model's weights", "dataset": "the training set", "validation": "the validation set"}


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Explain one image and write explanations/KEY.parquet. Job function of kind `explain`.

    `args`: model, dataset, validation, checkpoint (as for `score`); `id` of the image and `of`, the set that holds it
    ("training", the default, or "validation"); `label` under which it plays z_val (a class's name or number; none: the
    given one); `settings` (ExplainSettings). Training images play z_tr with their given labels; for a training image
    the clean ones do, too. `expected`: {"model", "dataset", "validation"} hashes that must still hold. An explanation
    that is there is not made again.

    Returns {"key", "file", "label", "looked_at": {set: images}, "for", "against": {set: the strongest by first-order
    term}, "notes"}.

    Raises:
        DataError: no such image or class, or something changed since.
        FVMError: see `open_task` and `inverse_fisher`.
        JobStopped: the person asked to stop.
    """
    settings = ExplainSettings.from_json(args.get("settings") or {})
    scoring = {key: getattr(settings, key) for key in ("damping", "batch_size", "seed", "limit")}
    task = open_task(context, {**args, "methods": ["influence"], "settings": scoring}, workspace)
    image = find_image(task, of=str(args.get("of") or "training"), id=str(args["id"]), label=args.get("label"))
    question = Question.about(task.described, of=image.of, id=image.id, label=image.label)
    _check_unchanged(question, args.get("expected") or {})
    path = explanation_path(workspace, question.key(settings))
    if not path.exists():
        frame, notes, seconds = _explain(context, task, image, settings, workspace)
        write_explanation(path, frame, _provenance(task, image, settings, notes, seconds))
    found = read_explanation(path)
    return {
        "key": path.stem, "file": str(path), "label": task.dataset.class_names[image.label],
        "looked_at": {name: int((found.frame["set"] == name).sum()) for name in SETS},
        "for": _listed(task, found.frame, +1), "against": _listed(task, found.frame, -1),
        "notes": found.provenance["notes"],
    }  # fmt: skip


def _check_unchanged(question: Question, expected: Mapping[str, Any]) -> None:
    changed = [words for key, words in CHANGED.items() if key in expected and expected[key] != question.hashes()[key]]
    if changed:
        raise DataError(
            f"{' and '.join(changed)} changed since these scores were made: the explanation would be of something "
            "else. Score again, then explain the image."
        )


def _explain(
    context: JobContext, task: Task, image: ExplainedImage, settings: ExplainSettings, workspace: Workspace
) -> tuple[pd.DataFrame, list[str], float]:
    chosen = looked_at(task, image, settings)
    first = 0 if fisher_path(task, workspace).exists() else len(task.validation)
    meter = Meter(context, first + cost(task, chosen, settings))
    told = telling(meter.advance, "Fisher of the validation set")
    with meter.clock():
        weights = inverse_fisher(cached_fisher(task, workspace, progress=told), damping=settings.damping)
        frame = evidence(task, image, chosen, weights, settings, meter)
    meter.advance(meter.total, "Done")
    return frame, _notes(task, frame, settings), meter.seconds


def _notes(task: Task, frame: pd.DataFrame, settings: ExplainSettings) -> list[str]:
    notes = list(task.notes)
    if task.record.role not in ("vm", "fvm"):
        notes.append(
            f"Eq. 20 holds at a minimum of the validation loss, and {task.record.name!r} was not tuned to one: the "
            "terms are those of a Newton step from where it stands."
        )
    known = int(frame["second"].notna().sum())
    if settings.second == "gauss-newton":
        notes.append("The second-order term is that of the Gauss-Newton matrix.")
    elif settings.second == "none":
        notes.append("The influence is its first-order term alone.")
    elif known < len(frame):
        notes.append(
            f"The second-order term was computed for the {known} of {len(frame)} images with the largest first-order "
            "term; the others have that one alone."
        )
    return notes


def _provenance(
    task: Task, image: ExplainedImage, settings: ExplainSettings, notes: list[str], seconds: float
) -> dict[str, Any]:
    with evaluating(task.model), torch.no_grad():
        logits = task.model(image.x).double()
    loss = float(F.cross_entropy(logits, torch.tensor([image.label], device=logits.device)))
    asked = {"of": image.of, "id": image.id, "row": image.row, "label": image.label, "given": image.given, "loss": loss}
    return {
        **task.described, "image": asked, "settings": settings.to_json(), "class_names": list(task.dataset.class_names),
        "seconds": seconds, "version": version(), "created": now(), "machine": machine(), "notes": notes,
    }  # fmt: skip


def _listed(task: Task, frame: pd.DataFrame, speaks: int) -> dict[str, list[dict[str, Any]]]:
    names = task.dataset.class_names
    return {
        name: [
            {"id": row["id"], "label": names[int(row["label"])], **_terms(row)}
            for row in strongest(frame, set=name, speaks=speaks, count=LISTED).to_dict("records")
        ]
        for name in SETS
    }


def _terms(row: Mapping[Any, Any]) -> dict[str, float | None]:
    """Return first- and second-order term and their sum as JSON has them, null where not computed."""
    values = {key: float(row[key]) for key in ("first", "second", "influence")}
    return {key: value if np.isfinite(value) else None for key, value in values.items()}
