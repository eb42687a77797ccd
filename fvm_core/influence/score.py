"""The scoring job: every sample of the training set by one or more methods, streamed to Parquet."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN
from fvm_core.errors import DataError
from fvm_core.influence.baselines import confident_quality
from fvm_core.influence.meter import Meter
from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.parts import Part, merge, part_path, read_part, write_part
from fvm_core.influence.passes.protocol import Columns, Pass
from fvm_core.influence.passes.registry import passes_for
from fvm_core.influence.store import SCHEMA, read_scores, with_provenance
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext
from fvm_core.workspace import Workspace

PART_ROWS = 512


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Score `args["dataset"]` under `args["model"]` and write scores/RUN/METHOD.parquet. Job function of kind `score`.

    Finished parts stay in the job's folder: a job that was killed does only what is missing and ends with the same
    rows. Memory does not grow with the rows (but confident learning holds n * c probabilities at the end).
    Returns {"run", "files", "samples", "notes", "summary": {method: {"seconds", "samples_per_second", "auc", "ap"}}}.

    Raises:
        FVMError: see `open_task`, `inverse_fisher` and `lissa`.
        JobStopped: the person asked to stop.
    """
    task = open_task(context, args, workspace)
    passes = passes_for(task.methods)
    costs = [item.cost(task) for item in passes]
    meter = Meter(context, sum(first + each * len(task.rows) for first, each in costs))
    files: dict[str, str] = {}
    summary: dict[str, dict[str, Any]] = {}
    notes = list(task.notes)
    for item, (first, each) in zip(passes, costs, strict=True):
        prepared = _prepare(context, task, item, first, meter)
        parts = _rows(context, task, item, each, meter)
        notes += item.notes
        seconds = sum(part.seconds for part in parts[item.methods[0]])
        for method in item.methods:
            more = {
                "seconds": prepared + seconds, "preparation_seconds": prepared, "notes": item.notes,
                "samples_per_second": len(task.rows) / max(seconds if each else prepared + seconds, 1e-9),
            }  # fmt: skip
            path = workspace.scores / task.run / f"{method}.parquet"
            schema = with_provenance(SCHEMA, task.provenance(method, **more))
            merge(parts[method], path, schema, change=_confident(parts[method]) if method == "confident" else _same)
            files[method] = str(path)
            summary[method] = {"seconds": more["seconds"], "samples_per_second": more["samples_per_second"]}
            summary[method] |= _quality(path)
    return {"run": task.run, "files": files, "samples": len(task.rows), "notes": notes, "summary": summary}


def _prepare(context: JobContext, task: Task, item: Pass, units: float, meter: Meter) -> float:
    """Prepare a pass, from the job's state where an earlier start got so far; return the seconds it took."""
    state = context.load_state() or {}
    if state.get("plan") != task.plan:
        state = {"plan": task.plan}
    kept = state.get(item.name)
    before, start = meter.done, meter.seconds
    with meter.clock():
        made = item.prepare(task, kept["made"] if kept else None, meter.advance)
    seconds = float(kept["seconds"]) if kept else meter.seconds - start
    if not kept:
        context.save_state({**state, item.name: {"made": made, "seconds": seconds}})
    meter.done = before + units
    return seconds


def _rows(context: JobContext, task: Task, item: Pass, units: float, meter: Meter) -> dict[str, list[Part]]:
    """Score all rows part by part; parts that are there already are kept. Return the parts of each method, in order."""
    out: dict[str, list[Part]] = {method: [] for method in item.methods}
    plan, batch = task.plan, task.settings.batch_size
    if task.settings.relabel == "shortlist":
        batch = min(4 * batch, max(batch, PART_ROWS))
    size = batch * math.ceil(PART_ROWS / batch)
    folder = context.path("scores", "x").parent
    for start in range(0, len(task.rows), size):
        rows = task.rows[start : start + size]
        found = {method: read_part(part_path(folder, method, start), plan=plan) for method in item.methods}
        if not all(found.values()):
            begin = meter.seconds
            pieces: dict[str, list[pa.Table]] = {method: [] for method in item.methods}
            for low in range(0, len(rows), batch):
                part = rows[low : low + batch]
                with meter.clock():
                    x, y = task.train.batch(part)
                    for method, columns in item.columns(replace(task, rows=part), x, y).items():
                        pieces[method].append(_table(task, part, method, columns))
                meter.advance(units * len(part), f"Scoring: {', '.join(METHODS[key].title for key in item.methods)}")
            for method, tables in pieces.items():
                path = part_path(folder, method, start)
                write_part(path, pa.concat_tables(tables), plan=plan, seconds=meter.seconds - begin)
                found[method] = read_part(path, plan=plan)
        else:
            meter.advance(units * len(rows), "Keeping what is scored already")
        for method, part_found in found.items():
            if part_found is None:
                raise DataError(f"part {start} of `{method}` in `{folder}` cannot be read back. Check the disk.")
            out[method].append(part_found)
    return out


def _table(task: Task, rows: NDArray[np.int64], method: str, columns: Columns) -> pa.Table:
    """Return the columns of a batch under SCHEMA."""
    index = task.train.usable[rows]
    known = task.dataset.clean_labels
    clean = np.full(len(rows), UNKNOWN) if known is None else known[index]
    score = columns.score.double().cpu().numpy()
    suggested = np.full(len(rows), -1) if columns.suggested is None else columns.suggested.cpu().numpy()
    if not np.isfinite(score).all():
        bad = task.dataset.ids[index[~np.isfinite(score)][0]]
        raise DataError(
            f"the score `{method}` of sample {bad!r} is not finite: the model's outputs overflow on it. "
            "Check the model's normalisation, or use another checkpoint."
        )
    return pa.table(
        {
            "id": pa.array(task.dataset.ids[index].tolist(), pa.string()),
            "row": pa.array(index, pa.int64()),
            "label": pa.array(task.dataset.labels[index], pa.int32()),
            "clean_label": pa.array(clean, pa.int32()),
            "score": pa.array(score, pa.float64()),
            "suspicion": pa.array(METHODS[method].suspicious * score, pa.float64()),
            "suggested": pa.array(suggested, pa.int32()),
            "label_scores": _lists(columns.label_scores, pa.float32(), len(rows)),
            "label_exact": _lists(columns.label_exact, pa.bool_(), len(rows)),
        },
        schema=SCHEMA,
    )


def _lists(value: Any, kind: pa.DataType, rows: int) -> pa.Array:
    if value is None:
        return pa.nulls(rows, pa.list_(kind))
    flat = value.cpu().numpy()
    flat = flat.astype(np.float32) if pa.types.is_float32(kind) else flat
    offsets = np.arange(0, flat.size + 1, flat.shape[1], dtype=np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.reshape(-1), kind))


def _same(table: pa.Table) -> pa.Table:
    return table


def _confident(parts: list[Part]) -> Any:
    """Return a change that puts cleanlab's quality in the place of the kept probabilities, group after group."""
    import pyarrow.parquet as pq

    tables = [pq.read_table(part.path, columns=["label", "label_scores"]) for part in parts]
    labels = np.concatenate([table["label"].to_numpy() for table in tables]).astype(np.int64)
    flat = np.concatenate([table["label_scores"].combine_chunks().flatten().to_numpy() for table in tables])
    quality = confident_quality(labels, flat.reshape(len(labels), -1))
    done = 0

    def change(table: pa.Table) -> pa.Table:
        nonlocal done
        mine = quality[done : done + table.num_rows]
        done += table.num_rows
        columns: Mapping[str, pa.Array] = {
            "score": pa.array(mine),
            "suspicion": pa.array(METHODS["confident"].suspicious * mine),
            "label_scores": pa.nulls(len(mine), pa.list_(pa.float32())),
            "label_exact": pa.nulls(len(mine), pa.list_(pa.bool_())),
        }
        for name, column in columns.items():
            table = table.set_column(table.column_names.index(name), name, column)
        return table

    return change


def _quality(path: Any) -> dict[str, float]:
    """Return AUC and AP of a finished score file where the truth is known and of both kinds, else nothing."""
    frame = read_scores(path, columns=["label", "clean_label", "suspicion"]).frame
    frame = frame[frame["clean_label"] >= 0]
    wrong = (frame["label"] != frame["clean_label"]).to_numpy()
    if wrong.all() or not wrong.any():
        return {}
    auc, ap = auc_ap(frame["suspicion"].to_numpy(), wrong)
    return {"auc": auc, "ap": ap}
