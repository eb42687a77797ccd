"""The scoring job: every sample of the training set by one or more methods, streamed to Parquet."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pyarrow as pa

from fvm_core.distributed.meeting import agree, hand_out, say, wait
from fvm_core.distributed.workers import workers_of
from fvm_core.files import move_file
from fvm_core.influence.baselines import confident_quality
from fvm_core.influence.meter import Meter
from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.parts import Part, merge
from fvm_core.influence.passes.protocol import Pass
from fvm_core.influence.passes.registry import passes_for
from fvm_core.influence.rows import score_rows
from fvm_core.influence.store import SCHEMA, read_scores, with_provenance
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext
from fvm_core.workspace import Workspace


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Score `args["dataset"]` under `args["model"]` and write scores/RUN/METHOD.parquet. Job function of kind `score`.

    Finished parts stay in the job's folder: a job that was killed does only what is missing and ends with the same
    rows. Several workers (`fvm_core.distributed`) share the rows; worker 0 alone writes the files and tells of them.
    Memory does not grow with the rows (but confident learning holds n * c probabilities at the end).
    Returns {"run", "files", "samples", "notes", "summary": {method: {"seconds", "samples_per_second", "auc", "ap"}}}.

    Raises:
        FVMError: see `open_task`, `inverse_fisher` and `lissa`.
        JobStopped: the person asked to stop.
    """
    task = open_task(context, args, workspace)
    workers = workers_of(context)
    agree(context, "plan", task.plan, what="data or settings")
    passes = passes_for(task.methods)
    costs = [item.cost(task) for item in passes]
    meter = Meter(context, sum(ahead + each * len(task.rows) for ahead, each in costs))
    files: dict[str, str] = {}
    summary: dict[str, dict[str, Any]] = {}
    notes = list(task.notes)
    if workers.size > 1:
        notes.append(f"Scored by {workers.size} workers together; seconds are those of all of them over their number.")
    for item, (ahead, each) in zip(passes, costs, strict=True):
        prepared = _prepare(context, task, item, ahead, meter)
        parts = score_rows(context, task, item, each, meter)
        if not workers.leads:
            continue
        notes += item.notes
        prepared += float(getattr(item, "borrowed", 0.0))
        seconds = sum(part.seconds for part in parts[item.methods[0]])
        for method in item.methods:
            more = {
                "seconds": prepared + seconds, "preparation_seconds": prepared, "notes": item.notes,
                "samples_per_second": len(task.rows) / max(seconds if each else prepared + seconds, 1e-9),
            }  # fmt: skip
            path = workspace.scores / task.run / f"{method}.parquet"
            schema = with_provenance(SCHEMA, task.provenance(method, **more))
            whole = context.path("scores", f"{method}.parquet")  # what a kill leaves half there, the next start removes
            merge(parts[method], whole, schema, change=_confident(parts[method]) if method == "confident" else _same)
            move_file(whole, path)
            files[method] = str(path)
            summary[method] = {"seconds": more["seconds"], "samples_per_second": more["samples_per_second"]}
            summary[method] |= _quality(path)
    return {"run": task.run, "files": files, "samples": len(task.rows), "notes": notes, "summary": summary}


def _prepare(context: JobContext, task: Task, item: Pass, units: float, meter: Meter) -> float:
    """Prepare a pass, from the job's state where an earlier start got so far; return the seconds it took.

    Of several workers all prepare a pass that shares its work (`together`), else worker 0 alone; in the end all go on
    with what worker 0 has made.
    """
    workers = workers_of(context)
    state = context.load_state() or {}
    if state.get("plan") != task.plan:
        state = {"plan": task.plan}
    kept = state.get(item.name)
    before, start = meter.done, meter.seconds
    made: dict[str, Any] | None = None
    with meter.clock():
        if workers.leads:
            say(context, f"prepare/{item.name}", "kept" if kept else "make")
            made = item.prepare(task, kept["made"] if kept else None, meter.advance)
        elif wait(context, f"prepare/{item.name}") == "make" and getattr(item, "together", False):
            item.prepare(task, None, meter.advance)
    seconds = float(kept["seconds"]) if kept else meter.seconds - start
    if not kept and workers.leads:
        context.save_state({**state, item.name: {"made": made, "seconds": seconds}})
    made = hand_out(context, f"made/{item.name}", made)
    if not workers.leads:
        item.prepare(task, made, meter.advance)
    meter.done = before + units
    return seconds


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
