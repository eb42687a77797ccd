"""The rows of a scoring job: part by part, each part by one worker, whole parts of an earlier start kept."""

from __future__ import annotations

import math
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN
from fvm_core.distributed.meeting import meet
from fvm_core.distributed.workers import workers_of
from fvm_core.errors import DataError
from fvm_core.influence.meter import Meter
from fvm_core.influence.methods import METHODS
from fvm_core.influence.parts import Part, find_parts, fold, part_path, write_part
from fvm_core.influence.passes.protocol import Columns, Pass
from fvm_core.influence.store import SCHEMA
from fvm_core.influence.task import Task
from fvm_core.jobs.context import JobContext

PART_ROWS = 512
PATIENCE = 90.0
"""Seconds in which a part that another machine has written has to appear on a shared disk."""


def score_rows(context: JobContext, task: Task, item: Pass, units: float, meter: Meter) -> dict[str, list[Part]]:
    """Score this worker's share of the rows; return, on worker 0, the parts of each method that hold all rows in order.

    Parts say which rows they hold, so it does not matter how many workers made them. One of several workers puts its
    own parts together to one file in the end. `units` is the cost of a row.

    Raises:
        DataError: a score is not finite, or a part cannot be read back.
        JobStopped: the person asked to stop.
    """
    workers = workers_of(context)
    batch = task.settings.batch_size
    if task.settings.relabel == "shortlist":
        batch = min(4 * batch, max(batch, PART_ROWS))
    size = batch * math.ceil(PART_ROWS / batch)
    folder = context.path("scores", "x").parent
    starts = range(0, len(task.rows), size)
    mine = starts[workers.share(len(starts))]
    kept = {method: find_parts(folder, method, plan=task.plan) for method in item.methods}
    told = units * len(task.rows) / max(1, sum(min(size, len(task.rows) - start) for start in mine))
    for start in mine:
        rows = task.rows[start : start + size]
        lacking = [key for key, parts in kept.items() if not _holds(parts, start, start + len(rows))]
        if not lacking:
            meter.advance(told * len(rows), "Keeping what is scored already")
            continue
        begin = meter.seconds
        pieces: dict[str, list[pa.Table]] = {method: [] for method in item.methods}
        for low in range(0, len(rows), batch):
            part = rows[low : low + batch]
            with meter.clock():
                x, y = task.train.batch(part)
                for method, columns in item.columns(replace(task, rows=part), x, y).items():
                    pieces[method].append(table_of(task, part, method, columns))
            meter.advance(told * len(part), f"Scoring: {', '.join(METHODS[key].title for key in item.methods)}")
        seconds = (meter.seconds - begin) / workers.size
        for method in lacking:
            table = pa.concat_tables(pieces[method])
            write_part(part_path(folder, method, start), table, plan=task.plan, seconds=seconds)
    if workers.size > 1:
        for method in item.methods:
            own = [part for part in find_parts(folder, method, plan=task.plan) if part.start in mine]
            fold(own, SCHEMA, plan=task.plan)
        meet(context, f"rows/{item.name}")
    if not workers.leads:
        return {}
    until = time.monotonic() + (PATIENCE if workers.size > 1 else 0.0)
    return {method: _whole(folder, method, task, until=until) for method in item.methods}


def _holds(parts: list[Part], start: int, stop: int) -> bool:
    return any(part.start <= start and stop <= part.stop for part in parts)


def _whole(folder: Path, method: str, task: Task, *, until: float) -> list[Part]:
    """Return the parts that hold all rows, once each, in order."""
    while True:
        parts = find_parts(folder, method, plan=task.plan)
        edges = [0, *(part.stop for part in parts)]
        gaps = [edge for part, edge in zip(parts, edges, strict=False) if part.start != edge]
        if edges[-1] != len(task.rows):
            gaps.append(edges[-1])
        if not gaps:
            return parts
        if time.monotonic() > until:
            raise DataError(f"part {gaps[0]} of `{method}` in `{folder}` cannot be read back. Check the disk.")
        time.sleep(1.0)


def table_of(task: Task, rows: NDArray[np.int64], method: str, columns: Columns) -> pa.Table:
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
