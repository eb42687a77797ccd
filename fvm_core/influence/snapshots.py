"""The snapshots job: a sample of the training set under every kept snapshot of one tuning (Fig. 3a and 3b)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.dataset import UNKNOWN
from fvm_core.errors import CheckpointError, DataError
from fvm_core.files import move_file
from fvm_core.influence.meter import Meter
from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.parts import Part, merge, read_part, write_part
from fvm_core.influence.passes.influence import InfluencePass
from fvm_core.influence.passes.protocol import Pass
from fvm_core.influence.passes.standard import StandardPass
from fvm_core.influence.store import SNAPSHOT_SCHEMA, with_provenance
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext
from fvm_core.models.checkpoint import load_snapshot
from fvm_core.workspace import Workspace

SAMPLE = 2000
TRACKED = ("standard", "influence")


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Score a random sample of the training set by the standard influence and by s, at each snapshot of the model.

    `args`: model, dataset, validation, run, sample (rows), seed, settings (ScoreSettings). Writes
    scores/RUN/snapshots.parquet (long: step, method, id, score, suspicion, mislabeled) and metrics `influence_auc`,
    `standard_auc` by step. A resumed job keeps the snapshots that are done. Job function of kind `snapshots`.

    Raises:
        CheckpointError: the model has no snapshots.
        FVMError: see `open_task`.
        JobStopped: the person asked to stop.
    """
    given = dict(args.get("settings") or {})
    settings = {
        **given, "relabel": "none", "seed": args["seed"] if "seed" in args else given.get("seed", 0),
        "limit": args.get("sample") or given.get("limit") or SAMPLE,
    }  # fmt: skip
    task = open_task(context, {**args, "methods": list(TRACKED), "settings": settings}, workspace)
    kept = sorted(task.record.snapshots, key=lambda item: int(item["step"]))
    if not kept:
        raise CheckpointError(f"model {task.record.name!r} has no snapshots. Tune a model: tuning keeps them.")
    passes: tuple[type[InfluencePass] | type[StandardPass], ...] = (InfluencePass, StandardPass)
    costs = [sum(made().cost(task)[0] + made().cost(task)[1] * len(task.rows) for made in passes)] * len(kept)
    meter = Meter(context, sum(costs))
    parts: list[Part] = []
    notes: list[str] = []
    auc: dict[str, dict[str, float]] = {}
    for number, item in enumerate(kept):
        step, before = int(item["step"]), meter.done
        path = context.path("snapshots", f"{step:010d}.parquet")
        part = read_part(path, plan=task.plan)
        if part is None:
            start = meter.seconds
            custom = bool(args.get("allow_custom"))
            model = load_snapshot(workspace, task.record.name, str(item["file"]), allow_custom=custom)
            at = replace(task, model=model.to(next(task.model.parameters()).device))
            table, said = _one(at, [made() for made in passes], step, meter)
            notes += [f"Step {step}: {note}" for note in said]
            write_part(path, table, plan=task.plan, seconds=meter.seconds - start, notes=notes)
            part = read_part(path, plan=task.plan)
        if part is None:
            raise DataError(f"`{path}` cannot be read back. Check the disk.")
        parts.append(part)
        notes = list(part.notes)
        meter.done = before + costs[number]
        auc[str(step)] = _detection(part)
        context.metric(step, **{f"{method}_auc": value for method, value in auc[str(step)].items()})
    seconds = sum(part.seconds for part in parts)
    more = {
        "seconds": seconds, "samples_per_second": len(task.rows) * len(kept) / max(seconds, 1e-9), "notes": notes,
        "snapshots": [int(item["step"]) for item in kept],
    }  # fmt: skip
    target = workspace.scores / task.run / "snapshots.parquet"
    whole = context.path("snapshots", "whole.parquet")
    merge(parts, whole, with_provenance(SNAPSHOT_SCHEMA, task.provenance("snapshots", **more)))
    move_file(whole, target)
    return {"run": task.run, "file": str(target), "samples": len(task.rows), "auc": auc, "notes": [*task.notes, *notes]}


def _one(task: Task, passes: list[Pass], step: int, meter: Meter) -> tuple[pa.Table, list[str]]:
    """Score the sample at one snapshot; return its rows for every method, and notes."""
    scores: dict[str, list[np.ndarray]] = {item.name: [] for item in passes}
    batch = task.settings.batch_size
    for item in passes:
        with meter.clock():
            item.prepare(task, None, lambda units, message: meter.advance(units, f"Step {step}: {message}"))
        for start in range(0, len(task.rows), batch):
            rows = task.rows[start : start + batch]
            with meter.clock():
                x, y = task.train.batch(rows)
                scores[item.name].append(item.columns(task, x, y)[item.name].score.double().cpu().numpy())
            meter.advance(item.cost(task)[1] * len(rows), f"Step {step}: {METHODS[item.name].title}")
    index = task.train.usable[task.rows]
    wrong = task.dataset.mislabeled()
    known = task.dataset.clean_labels
    truth: list[bool | None] = [None] * len(index)
    if wrong is not None and known is not None:
        truth = [bool(wrong[i]) if known[i] != UNKNOWN else None for i in index]
    tables = []
    for method in TRACKED:
        score = np.concatenate(scores[method])
        columns: Mapping[str, pa.Array] = {
            "step": pa.array(np.full(len(index), step), pa.int64()),
            "method": pa.array([method] * len(index), pa.string()),
            "id": pa.array(task.dataset.ids[index].tolist(), pa.string()),
            "score": pa.array(score, pa.float64()),
            "suspicion": pa.array(METHODS[method].suspicious * score, pa.float64()),
            "mislabeled": pa.array(truth, pa.bool_()),
        }
        tables.append(pa.table(columns, schema=SNAPSHOT_SCHEMA))
    return pa.concat_tables(tables), [note for item in passes for note in item.notes]


def _detection(part: Part) -> dict[str, float]:
    """Return {method: ROC AUC} of a part, empty without a truth of both kinds."""
    frame = pq.read_table(part.path).to_pandas().dropna(subset=["mislabeled"])
    found = {}
    for method, rows in frame.groupby("method"):
        wrong = rows["mislabeled"].to_numpy(dtype=bool)
        if wrong.any() and not wrong.all():
            found[str(method)] = auc_ap(rows["suspicion"].to_numpy(), wrong)[0]
    return found
