"""One row a score file: how well it finds and mends wrong labels where the truth is known, and what it cost."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd

from fvm_core.data.dataset import UNKNOWN
from fvm_core.errors import DataError
from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap, relabel_accuracy
from fvm_core.influence.store import RunInfo, list_runs, read_scores
from fvm_core.tuning.solvers import name_with_solver
from fvm_core.workspace import Workspace


def summarize(workspace: Workspace, *, runs: list[str] | None = None) -> pd.DataFrame:
    """Return a table with columns run, model, method, samples, wrong, auc, ap, relabel_all, relabel_wrong, seconds,
    samples_per_second. `model` is its role, with the solver of an FVM where that is not SAM: `fvm (ASAM)`. Figures of
    detection and relabeling are in percent, over the samples whose truth is known; NaN where it has no wrong label (or
    no right one) to find.

    Raises:
        DataError: no score file, or none with any known truth.
    """
    rows = []
    for info in list_runs(workspace):
        if info.method not in METHODS or (runs is not None and info.run not in runs):
            continue
        found = summarize_file(info)
        if found is not None:
            rows.append(found)
    if not rows:
        raise DataError("no score file with known clean labels was found; score a dataset that has them first.")
    return pd.DataFrame(rows)


def summarize_file(info: RunInfo) -> dict[str, Any] | None:
    """Return one row of `summarize`, None where no truth is known.

    Raises:
        DataError: the file is missing or damaged.
    """
    table = read_scores(info.path, columns=["label", "clean_label", "suspicion", "suggested"])
    frame = table.frame[table.frame["clean_label"] != UNKNOWN]
    if frame.empty:
        return None
    clean, given = frame["clean_label"].to_numpy(), frame["label"].to_numpy()
    wrong = clean != given
    auc, ap = np.nan, np.nan
    if wrong.any() and not wrong.all():
        auc, ap = auc_ap(frame["suspicion"].to_numpy(), wrong)
    relabel = {"all": np.nan, "wrong": np.nan}
    if METHODS[info.method].relabels and (frame["suggested"] != -1).any():
        suggested = frame["suggested"].to_numpy()
        relabel["all"] = relabel_accuracy(suggested, clean)
        relabel["wrong"] = relabel_accuracy(suggested[wrong], clean[wrong])
    provenance = table.provenance
    model = name_with_solver(provenance["model"]["role"], provenance["model"].get("solver"))
    return {
        "run": info.run, "model": model, "method": info.method, "samples": len(frame),
        "wrong": int(wrong.sum()), "auc": 100 * auc, "ap": 100 * ap, "relabel_all": 100 * relabel["all"],
        "relabel_wrong": 100 * relabel["wrong"], "seconds": provenance["seconds"],
        "samples_per_second": provenance["samples_per_second"],
    }  # fmt: skip
