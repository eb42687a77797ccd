"""A table of ours beside the paper's: mean and standard deviation over seeds, and where a plain baseline is better."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from fvm_core.experiments.published import SETTINGS, published
from fvm_core.experiments.tables import TABLES, Row, Table, reference

NAN = math.nan


@dataclass(frozen=True)
class Line:
    """One row of a table on one dataset in one metric, in percent.

    `mean` and `std` over `n` seeds (`std` with n - 1, NaN for one seed); `failed` cells have no part in them. `change`
    is the relative change (%) against the whole validation set, of rows on a share of it. `paper_*` is the paper's
    figure in its column `paper_setting`, another dataset's unless that equals `setting`. `beaten_by`: the best plain
    baseline of the same model if it is better than our score, else "". `seconds` a seed.
    """

    row: str
    kind: str
    model: str
    method: str
    share: float
    validation_size: int
    dataset: str
    setting: str
    metric: str
    mean: float
    std: float
    n: int
    failed: int
    seconds: float
    paper_setting: str
    paper_mean: float
    paper_std: float
    beaten_by: str = ""
    beaten_mean: float = NAN
    change: float = NAN
    paper_change: float = NAN


def dataset_order(frame: pd.DataFrame) -> list[str]:
    """Return the datasets in the order of the paper's columns, others by name after them."""
    places = {setting: place for place, setting in enumerate(SETTINGS)}
    pairs = {(places.get(str(setting), len(places)), str(name)) for name, setting in _pairs(frame)}
    return [name for _, name in sorted(pairs)]


def _pairs(frame: pd.DataFrame) -> list[tuple[object, object]]:
    return list(zip(frame["dataset"], frame["setting"], strict=True))


def compare(key: str, frame: pd.DataFrame) -> list[Line]:
    """Return a line a row, dataset and metric of table `key`, from the rows of its result."""
    table, lines = TABLES[key], []
    for dataset in dataset_order(frame):
        mine = frame[frame["dataset"] == dataset]
        groups = {tuple(group): cells for group, cells in mine.groupby(["row", "share"])}
        for metric in table.metrics:
            lines += _column(table, groups, dataset, metric)
    return lines


def as_frame(lines: list[Line]) -> pd.DataFrame:
    """Return the lines as a table, a column a field."""
    return pd.DataFrame([vars(line) for line in lines], columns=list(Line.__dataclass_fields__))


def _column(table: Table, groups: Mapping[Any, pd.DataFrame], dataset: str, metric: str) -> list[Line]:
    found: dict[tuple[str, float], Line] = {}
    for row in table.rows:
        cells = groups.get((row.label, row.share))
        if cells is None:
            continue
        values, setting = cells[metric].dropna(), str(cells["setting"].iloc[0])
        column = reference(table, setting)
        paper = published(table.key, row.label, column, metric, share=row.share)
        found[row.label, row.share] = Line(
            row=row.label, kind=row.kind, model=row.model, method=row.method, share=row.share,
            validation_size=int(cells["validation_size"].max()), dataset=dataset, setting=setting, metric=metric,
            mean=float(values.mean()) if len(values) else NAN,
            std=float(values.std(ddof=1)) if len(values) > 1 else NAN, n=len(values),
            failed=int((cells["error"] != "").sum()), seconds=float(cells["seconds"].mean()), paper_setting=column,
            paper_mean=paper.mean if paper else NAN,
            paper_std=NAN if paper is None or paper.std is None else paper.std,
        )  # fmt: skip
    return [_judged(table, row, found) for row in table.rows if (row.label, row.share) in found]


def _judged(table: Table, row: Row, found: Mapping[tuple[str, float], Line]) -> Line:
    """Return the row's line with what the other lines of its column say about it."""
    line, whole = found[row.label, row.share], found.get((row.label, 1.0))
    if row.share < 1 and whole is not None:
        line = replace(
            line, change=100 * (line.mean / whole.mean - 1), paper_change=100 * (line.paper_mean / whole.paper_mean - 1)
        )
    rivals = [
        found[other.label, other.share]
        for other in table.rows
        if row.ours and other.kind == "baseline" and other.model == row.model and (other.label, other.share) in found
    ]
    better = [rival for rival in rivals if rival.mean > line.mean]
    if better:
        best = max(better, key=lambda rival: rival.mean)
        line = replace(line, beaten_by=best.row, beaten_mean=best.mean)
    return line
