"""The self-test job: plants wrong labels, scores under the same model, and says how many of them each list finds."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.corrections import with_corrections
from fvm_core.data.dataset import LabeledImages
from fvm_core.data.registry import read_spec
from fvm_core.data.subset import write_ids
from fvm_core.files import atomic_write, write_json
from fvm_core.influence.passes.noise import SAMPLES, implied_transition
from fvm_core.influence.planted import (
    FOLDER,
    Planted,
    PlantSettings,
    plant,
    recall_table,
    self_test_key,
    self_test_path,
)
from fvm_core.influence.score import run as score
from fvm_core.influence.store import read_scores
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext
from fvm_core.jobs.nested import NestedContext
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace

METHODS = ("posterior", "influence", "loss")
SHARES = 1000
PLANTING = 100


@dataclass(frozen=True)
class TestSpace(Workspace):
    """A workspace of its own inside a person's, so that scores of planted labels are not taken for real ones. Models
    and decoded pixels are the person's."""

    __test__ = False

    @property
    def models(self) -> Path:
        return self.root.parent.parent / "models"

    @property
    def cache(self) -> Path:
        return self.root.parent.parent / "cache"


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Plant, score, count, and write self_tests/KEY/result.json. Job function of kind `self_test`.

    `args`: model, dataset, validation, methods, `settings` (PlantSettings), `scoring` (further settings of the score
    job). The model stays as it is: it was trained on the labels from before, which is a little easier than finding an
    error that the base model has learned. A test that is there is not made again.

    Returns {"key", "file"}; the file holds {"planted", "samples", "methods": {method: see `recall_table`}, ...}.

    Raises:
        FVMError: see `open_task`, `plant` and the score job.
        JobStopped: the person asked to stop.
    """
    settings = PlantSettings.from_json(args.get("settings") or {})
    methods = tuple(args.get("methods") or METHODS)
    wanted = dict(args.get("scoring") or {})
    scoring = {**wanted, "seed": settings.seed, "limit": None}
    names = {name: str(args[name]) for name in ("model", "dataset", "validation")}
    task = open_task(context, {**names, "methods": list(methods), "settings": scoring}, workspace)
    hashes = (task.described["model"]["sha256"], task.dataset.fingerprint, task.described["validation"]["fingerprint"])
    key = self_test_key(*hashes, methods, settings, wanted)
    path = self_test_path(workspace, key)
    if not path.exists():
        planted = _plant(context, task, settings)
        space = TestSpace(workspace.root / FOLDER / key)
        _register(space, task.dataset, planted, workspace, names)
        part = NestedContext(context, name="score", start=PLANTING, end=SHARES, scale=SHARES)
        try:
            done = score(part, {**names, "methods": list(methods), "settings": scoring, "run": "planted"}, space)
        finally:
            part.close()
        write_json(path, _result(task, planted, settings, done["files"], key))
    return {"key": key, "file": str(path)}


def _plant(context: JobContext, task: Task, settings: PlantSettings) -> Planted:
    matrix, told, whole = None, 0.0, 0.3 * min(SAMPLES, len(task.train))
    if settings.pattern == "confusions":

        def report(units: float, message: str) -> None:
            nonlocal told
            told += units
            context.progress(min(PLANTING, int(PLANTING * told / whole)), SHARES, message)

        matrix = implied_transition(task, report).matrix.cpu().numpy()
    return plant(task.dataset.labels, task.classes, settings, matrix)


def _register(
    space: TestSpace, dataset: LabeledImages, planted: Planted, workspace: Workspace, names: dict[str, str]
) -> None:
    """Write the planted dataset and the clean one into the space, under their own names."""
    folder = space.root
    write_ids(folder / "ids.txt", dataset.ids[planted.rows].tolist())
    table = pa.table({"id": dataset.ids[planted.flipped].tolist(), "label": planted.labels})
    with atomic_write(folder / "labels.parquet") as file:
        pq.write_table(table, file)
    spec = with_corrections(dataset.spec, str(folder / "labels.parquet"))
    write_json(
        space.datasets / f"{names['dataset']}.json",
        replace(spec, include=str(folder / "ids.txt"), exclude="").to_json(),
    )
    write_json(space.datasets / f"{names['validation']}.json", read_spec(workspace, names["validation"]).to_json())


def _result(task: Task, planted: Planted, settings: PlantSettings, files: dict[str, str], key: str) -> dict[str, Any]:
    flipped = task.dataset.ids[planted.flipped].tolist()
    original = dict(zip(flipped, task.dataset.labels[planted.flipped].tolist(), strict=True))
    columns = ["id", "suspicion", "suggested"]
    return {
        "key": key, **task.described, "settings": settings.to_json(), "samples": len(planted.rows),
        "planted": len(flipped), "created": now(), "version": version(), "machine": machine(),
        "methods": {
            method: recall_table(read_scores(path, columns=columns).frame, flipped, original)
            for method, path in files.items()
        },
    }  # fmt: skip
