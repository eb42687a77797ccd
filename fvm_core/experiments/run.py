"""The `reproduce` job: every cell of the asked tables and figures, each part once, tables written as they grow."""

from __future__ import annotations

import math
import sys
import time
import traceback
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fvm_core.errors import FVMError, StorageError
from fvm_core.experiments.collect import cell_row, figure_frame
from fvm_core.experiments.execute import do_part
from fvm_core.experiments.grid import Grid
from fvm_core.experiments.parts import done
from fvm_core.experiments.plan import Cell, Figure, Plan, make_plan
from fvm_core.experiments.render import write_texts
from fvm_core.experiments.results import write_figure, write_rows
from fvm_core.experiments.store import Store, experiment_folder, open_store
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace

WRITE_EVERY = 10.0
"""Seconds after which a growing table is written again."""


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Do what a Grid asks for. Job function of kind `reproduce`.

    Writes experiments/NAME/KEY.parquet for each table and figure, a table while it grows, and tables.md and tables.csv
    at the end. A part that fails fails its cells, with its message, and no others. Parts are kept below
    experiments/.store by what they are made from: a job that was killed, or another one with tables in common, does
    what is missing.
    Returns {"name", "folder", "cells", "failed": {message: number of cells}, "parts"}.

    Raises:
        FVMError: a name or setting cannot be used, or the disk is full.
        JobStopped: the person asked to stop.
    """
    grid = Grid.from_json(dict(args))
    plan, store = make_plan(grid, workspace), open_store(workspace)
    for drawn in plan.rows:
        drawn.register(store)
    work = Work(context, plan, store, workspace)
    folder, said = experiment_folder(workspace, grid.title), about(grid, plan)
    failed: Counter[str] = Counter()
    for key in dict.fromkeys(cell.table for cell in plan.cells):
        failed += _table([cell for cell in plan.cells if cell.table == key], work, folder, said)
    for figure in plan.figures:
        if message := work.fill(figure):
            failed[message] += 1
        else:
            write_figure(folder, figure.key, figure_frame(figure, plan, store), said)
    write_texts(folder)
    return {
        "name": grid.title, "folder": str(folder), "cells": len(plan.cells) + len(plan.figures),
        "failed": dict(failed), "parts": work.made,
    }  # fmt: skip


def _table(cells: list[Cell], work: Work, folder: Path, said: Mapping[str, Any]) -> Counter[str]:
    """Fill and write one table, also as far as it came when it is stopped; return its failures by message."""
    rows: list[dict[str, Any]] = []
    written = time.monotonic()
    try:
        for cell in cells:
            rows.append(cell_row(cell, work.plan, work.store, work.fill(cell)))
            if time.monotonic() - written >= WRITE_EVERY:
                write_rows(folder, cell.table, rows, said)
                written = time.monotonic()
    finally:
        if rows:
            write_rows(folder, cells[0].table, rows, said)
    return Counter(str(row["error"]) for row in rows if row["error"])


@dataclass
class Work:
    """Does the parts behind one cell after the other. `made` counts those that were not there before."""

    context: JobContext
    plan: Plan
    store: Store
    workspace: Workspace
    made: int = 0
    broken: dict[str, str] = field(default_factory=dict)
    seen: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        parts = self.plan.work()
        self.place, units = {}, 0
        for part in parts:
            self.place[part.key] = (units, units + math.ceil(part.seconds))
            units += math.ceil(part.seconds)
        self.scale = max(units, 1)

    def fill(self, item: Cell | Figure) -> str:
        """Do what is missing; return "" or the message of the part that failed.

        Raises:
            StorageError: the disk refused: nothing else would fare better.
            JobStopped: the person asked to stop.
        """
        if item.lacks:
            return item.lacks
        for key in self.plan.needed(item):
            part, (start, end) = self.plan.parts.all[key], self.place[key]
            if key in self.broken:
                return self.broken[key]
            if key in self.seen:
                continue
            self.seen.add(key)
            if done(part, self.store):
                self.context.progress(1000 * end, 1000 * self.scale, f"{part.title}: there already")
                continue
            try:
                do_part(self.context, part, self.store, self.workspace, start=start, end=end, scale=self.scale)
                self.made += 1
            except (JobStopped, StorageError):
                raise
            except FVMError as error:
                self.broken[key] = f"{part.title}: {error}"
            except Exception as error:
                traceback.print_exc(file=sys.stderr)
                self.broken[key] = f"{part.title}: {type(error).__name__}: {error} (a defect; the log has the details)"
            if key in self.broken:
                return self.broken[key]
        if self.context.checkpoint():
            raise JobStopped
        return ""


def about(grid: Grid, plan: Plan) -> dict[str, Any]:
    """Return what stands beside the figures of a table: what was asked, and where and when it was measured."""
    return {
        "grid": grid.to_json(), "preset": grid.recipe.to_json(), "recipe": plan.mark, "machine": machine(),
        "version": version(), "created": now(),
    }  # fmt: skip
