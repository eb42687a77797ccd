"""Rows of experiments in the very format of the `reproduce` job, made up: for tests of what reads them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from fvm_core.experiments.presets import PRESETS
from fvm_core.experiments.results import write_figure, write_rows
from fvm_core.experiments.tables import SOLVERS, TABLES


def about(**grid: Any) -> dict[str, Any]:
    """Return what stands beside a result."""
    return {
        "grid": {"model": None, "preset": "cpu", "seeds": [0, 1], "what": ["all"], **grid},
        "preset": PRESETS["cpu"].to_json(), "recipe": "r", "machine": "a machine", "version": "0.1.0",
        "created": "2026-01-02T03:04:05+00:00",
    }  # fmt: skip


def provenance() -> str:
    """Return what a row knows of its score file and model."""
    spec = {"arch": "cifar_resnet18", "num_classes": 10, "width": 8}
    base = {"settings": {"epochs": 6, "schedule": "onecycle", "lr": 0.2, "batch_size": 128, "precision_used": "fp32"}}
    return json.dumps({"scores": {"model": {"name": "m", "spec": spec}}, "base": base})


def rows(
    key: str, *, dataset: str = "noisy", setting: str = "worse", seeds: Sequence[int] = (0, 1), recipe: str = "r",
    fingerprint: str = "f", **values: float,
) -> list[dict[str, Any]]:  # fmt: skip
    """Return one row for each row of table `key` and seed; figures are drawn unless `values` names them."""
    found = []
    for seed in seeds:
        random = np.random.default_rng([seed, len(key)])
        for row in TABLES[key].rows:
            drawn = {name: random.uniform(40, 99) for name in ("auc", "ap", "relabel_all", "relabel_wrong")}
            found.append(
                {
                    "table": key, "dataset": dataset, "setting": setting, "seed": seed, "row": row.label,
                    "kind": row.kind, "method": row.method, "model": row.model,
                    "solver": SOLVERS.get(row.model, ""), "share": row.share,
                    "epoch": 4.0 if row.starred else np.nan, "validation_size": round(3000 * row.share), **drawn,
                    "seconds": 2.0, "samples": 1500.0, "error": "", "recipe": recipe, "fingerprint": fingerprint,
                    "provenance": provenance(), **values,
                }
            )  # fmt: skip
    return found


def write_all(folder: Path, *, dataset: str = "noisy", setting: str = "worse") -> None:
    """Write every table and figure into a folder."""
    for key in TABLES:
        write_rows(folder, key, rows(key, dataset=dataset, setting=setting), about())
    write_figure(folder, "figure1", figure1(dataset), about())
    series = [("accuracy", 40.0), ("standard", 60.0), ("tracin", 55.0)]
    training = [
        {"dataset": dataset, "seed": 0, "epoch": epoch, "series": name, "value": start + epoch}
        for epoch in (1, 2, 3)
        for name, start in series
    ]
    write_figure(folder, "figure2", pd.DataFrame(training), about())
    tuning = [
        {"dataset": dataset, "seed": 0, "step": step, "method": method, "auc": 70.0 + step / 10, "low": -1.0, "q1": 0.0,
         "median": 1.0, "q3": 2.0, "high": 3.0, "samples": 300}
        for step in (0, 50, 100)
        for method in ("standard", "influence")
    ]  # fmt: skip
    write_figure(folder, "figure3", pd.DataFrame(tuning), about())


def figure1(dataset: str = "noisy") -> pd.DataFrame:
    """Return Newton steps whose true change is steeper than the estimates, most so for the base model."""
    table = [
        {"dataset": dataset, "seed": 0, "model": model, "sample": sample, "length": length,
         "true": 3 * sharp * length**2, "first": sharp * length**2, "second": 2 * sharp * length**2}
        for model, sharp in (("base", 4.0), ("vm", 2.0), ("fvm", 1.0))
        for sample in ("a", "b")
        for length in (0.1, 0.2)
    ]  # fmt: skip
    return pd.DataFrame(table)
