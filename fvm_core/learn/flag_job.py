"""The flag job: the terms behind one training image's score, for the given and for every other label."""

from __future__ import annotations

from typing import Any

from fvm_core.errors import DataError
from fvm_core.influence.explained_image import find_image
from fvm_core.influence.explanations import Question
from fvm_core.influence.fisher_cache import cached_fisher
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import open_task
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.learn.flag_key import flag_key
from fvm_core.learn.flag_terms import flag_terms
from fvm_core.learn.settings import FlagSettings
from fvm_core.learn.store import FLAG, learn_path, write_table
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Write learn/flag-KEY.parquet for one training image. Job function of kind `flag`.

    `args`: model, dataset, validation, checkpoint (as for `score`), `id` of the image, `settings` (FlagSettings), and
    `expected`: {"model", "dataset", "validation"} hashes that must still hold. Returns {"key", "file", "s": {label: s},
    "suggested"}.

    Raises:
        DataError: no such image, or something changed since it was scored.
        FVMError: see `open_task` and `inverse_fisher`.
        JobStopped: the person asked to stop.
    """
    settings = FlagSettings.from_json(args.get("settings") or {})
    scoring = {"damping": settings.damping, "batch_size": settings.batch_size}
    task = open_task(context, {**args, "methods": ["influence"], "settings": scoring}, workspace)
    image = find_image(task, of="training", id=str(args["id"]))
    question = Question.about(task.described, of="training", id=image.id, label=image.given)
    changed = [name for name, value in question.hashes().items() if args.get("expected", {}).get(name, value) != value]
    if changed:
        raise DataError(f"the {' and the '.join(changed)} changed since this image was scored. Score again, then look.")

    def told(done: int) -> None:
        context.progress(done, len(task.validation) + 1, "Fisher of the validation set")
        if context.checkpoint():
            raise JobStopped

    fisher = cached_fisher(task, workspace, progress=told)
    inverse_fisher(fisher, damping=settings.damping)
    frame = flag_terms(
        SquaredGradients(task.model, image.x), image.x, fisher, damping=settings.damping, classes=task.classes,
        top=settings.top,
    )  # fmt: skip
    key = flag_key(question, settings)
    path = learn_path(workspace, "flag", key)
    asked = {"id": image.id, "row": image.row, "given": image.given}
    write_table(
        path, frame, FLAG,
        {**task.described, "image": asked, "settings": settings.to_json(), "notes": list(task.notes),
         "class_names": list(task.dataset.class_names), "version": version(), "created": now(), "machine": machine()},
    )  # fmt: skip
    sums = frame[frame["index"] < 0].groupby("label")["term"].sum().to_list()
    context.progress(len(task.validation) + 1, len(task.validation) + 1, "Done")
    names = task.dataset.class_names
    return {
        "key": key, "file": str(path), "s": dict(zip(names, sums, strict=True)),
        "suggested": names[sums.index(min(sums))],
    }  # fmt: skip
