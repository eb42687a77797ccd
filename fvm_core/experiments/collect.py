"""From the files that the parts left to the rows of a table and the numbers of a figure. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq

from fvm_core.errors import FVMError
from fvm_core.experiments.parts import Part, scores_file
from fvm_core.experiments.plan import Cell, Figure, Plan
from fvm_core.experiments.results import FIGURE_COLUMNS
from fvm_core.experiments.store import Store
from fvm_core.experiments.tables import SOLVERS
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.store import RunInfo, read_provenance, read_scores
from fvm_core.influence.summary import summarize_file
from fvm_core.models.store import read_record

WHISKERS = {"low": 0.05, "q1": 0.25, "median": 0.5, "q3": 0.75, "high": 0.95}
MEASURED = ("auc", "ap", "relabel_all", "relabel_wrong", "seconds", "samples")


def cell_row(cell: Cell, plan: Plan, store: Store, message: str) -> dict[str, Any]:
    """Return the row of a cell (columns of results.SCHEMA). With a `message` it has no figures but that error.

    A starred form is the candidate with the best AP; its seconds are those of all candidates together.
    """
    row: dict[str, Any] = {
        "table": cell.table, "dataset": cell.dataset, "setting": cell.setting, "seed": cell.seed,
        "row": cell.row.label, "kind": cell.row.kind, "method": cell.row.method, "model": cell.row.model,
        "solver": SOLVERS.get(cell.row.model, ""), "share": cell.row.share, "epoch": np.nan,
        "validation_size": cell.validation_size, **dict.fromkeys(MEASURED, np.nan), "error": message,
        "recipe": plan.mark, "fingerprint": cell.fingerprint, "provenance": "{}",
    }  # fmt: skip
    if message:
        return row
    try:
        found = [_measured(plan.parts.all[each.part], cell.row.method, store) for each in cell.candidates]
    except FVMError as error:
        return {**row, "error": str(error)}
    best = max(range(len(found)), key=lambda place: np.nan_to_num(found[place]["ap"], nan=-1.0))
    chosen, origin = found[best], found[best].pop("provenance")
    row |= {key: chosen[key] for key in MEASURED}
    row["seconds"] = sum(each["seconds"] for each in found)
    if cell.row.starred:
        epoch = cell.candidates[best].epoch
        row["epoch"] = np.nan if epoch is None else float(epoch)
        origin["starred"] = {
            str(candidate.epoch): each["ap"] for candidate, each in zip(cell.candidates, found, strict=True)
        }
    row["provenance"] = json.dumps(origin | _models(origin, store), sort_keys=True)
    if not cell.row.relabel:
        row |= {"relabel_all": np.nan, "relabel_wrong": np.nan}
    return row


def _measured(part: Part, method: str, store: Store) -> dict[str, Any]:
    path = store.root / scores_file(part, method)
    provenance = read_provenance(path)
    found = summarize_file(RunInfo(path.parent.name, method, str(path), provenance))
    return {**dict.fromkeys(MEASURED, np.nan), **(found or {}), "provenance": {"scores": provenance}}


def _models(origin: Mapping[str, Any], store: Store) -> dict[str, Any]:
    """Return how the scored model, and the one it was tuned from, were made."""
    record = read_record(store, str(origin["scores"]["model"]["name"]))
    made = {"settings": dict(record.settings), "metrics": dict(record.metrics)}
    if not record.parent:
        return {"base": made}
    parent = read_record(store, record.parent)
    return {"tuned": made, "base": {"settings": dict(parent.settings), "metrics": dict(parent.metrics)}}


def figure_frame(figure: Figure, plan: Plan, store: Store) -> pd.DataFrame:
    """Return the numbers behind a figure: columns of results.FIGURE_COLUMNS, AUC and accuracy in percent.

    Raises:
        DataError: a file of a part cannot be read.
    """
    parts = {name: plan.parts.all[key] for name, key in figure.series.items()}
    frame = {"figure1": _steps, "figure2": _training, "figure3": _tuning}[figure.key](parts, store)
    frame = frame.assign(dataset=figure.dataset, seed=figure.seed)
    return frame[list(FIGURE_COLUMNS[figure.key])]


def _result(part: Part, store: Store) -> Path:
    return store.root / part.outputs[0]


def _steps(parts: Mapping[str, Part], store: Store) -> pd.DataFrame:
    return pq.read_table(_result(parts["steps"], store)).to_pandas()


def _training(parts: Mapping[str, Part], store: Store) -> pd.DataFrame:
    """Return epoch, series (`accuracy`, `standard`, `tracin`), value."""
    accuracy = pq.read_table(_result(parts["accuracy"], store)).to_pandas()
    rows = [
        {"epoch": int(epoch), "series": "accuracy", "value": 100 * float(value)}
        for epoch, value in zip(accuracy["epoch"], accuracy["accuracy"], strict=True)
    ]
    for name, part in parts.items():
        method, _, epoch = name.partition(" ")
        if epoch:
            rows.append({"epoch": int(epoch), "series": method, "value": _measured(part, method, store)["auc"]})
    return pd.DataFrame(rows, columns=["epoch", "series", "value"])


def _tuning(parts: Mapping[str, Part], store: Store) -> pd.DataFrame:
    """Return step, method, AUC, and the quartiles and 5 and 95 % of the clean samples' scores."""
    table = read_scores(
        _result(parts["snapshots"], store), columns=["step", "method", "score", "suspicion", "mislabeled"]
    )
    frame = table.frame[table.frame["mislabeled"].notna()]
    rows = []
    for group, part in frame.groupby(["step", "method"], sort=True):
        step, method = tuple(group)
        wrong = part["mislabeled"].to_numpy(dtype=bool)
        auc = 100 * auc_ap(part["suspicion"].to_numpy(), wrong)[0] if wrong.any() and not wrong.all() else np.nan
        clean = part["score"].to_numpy()[~wrong]
        quantiles = {name: float(np.quantile(clean, at)) if len(clean) else np.nan for name, at in WHISKERS.items()}
        rows.append({"step": int(str(step)), "method": str(method), "auc": auc, **quantiles, "samples": len(part)})
    return pd.DataFrame(rows)
