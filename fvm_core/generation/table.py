"""Tables 4 and 5: ROC AUC and recall of every run and method, and how well planted wrong pairs are found. No torch."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from sklearn.metrics import average_precision_score, roc_auc_score

from fvm_core.errors import DataError
from fvm_core.generation.detection import detection
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.score_store import (
    TRAINING,
    VALIDATION,
    ScoreRun,
    list_score_runs,
    method_title,
    read_matrix,
    read_run,
    read_samples,
)
from fvm_core.workspace import Workspace


def summary_of(matrix: NDArray[np.floating], training: PairSet, validation: PairSet) -> dict[str, float]:
    """Return AUC and recall in percent (`Detection.summary`), {} where a set has no classes."""
    if training.classes is None or validation.classes is None:
        return {}
    return detection(matrix, training.classes, validation.classes).summary()


def influence_table(workspace: Workspace, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """Return one row a run and method whose pairs have classes: run, model, method (its title), training (name of the
    set), auc_mean, auc_std, recall_mean, recall_std in percent, over validation pairs.

    Raises:
        DataError: there is no such run, or a named one is damaged.
    """
    rows = []
    for run in chosen(workspace, runs):
        training, validation = (read_samples(workspace, run.name, part) for part in (TRAINING, VALIDATION))
        if training["class"].isna().any() or validation["class"].isna().any():
            continue
        for method in run.methods:
            found = detection(
                read_matrix(workspace, run.name, method), list(training["class"]), list(validation["class"])
            )
            rows.append({**_about(run), "method": method_title(run, method), **found.summary()})
    return pd.DataFrame(rows)


def wrong_table(workspace: Workspace, runs: Sequence[str] | None = None) -> pd.DataFrame:
    """Return one row a run and suspicion where wrong targets were planted: run, model, training, role (of the model),
    method (`loss`, `influence` for Eq. 21, or a method of METHODS), planted (how many), and in percent how well that
    suspicion finds them: auc, ap, and found, the share of planted ones among as many of the most suspicious pairs.

    Raises:
        DataError: there is no such run, or a named one is damaged.
    """
    rows = []
    for run in chosen(workspace, runs):
        frame = read_samples(workspace, run.name, TRAINING)
        wrong = frame["wrong"].to_numpy()
        if frame["wrong"].isna().any() or not 0 < wrong.astype(bool).sum() < len(wrong):
            continue
        truth = wrong.astype(bool)
        for column in [name for name in frame.columns if name.startswith("suspicion_")]:
            values = frame[column].to_numpy(np.float64)
            first = np.argsort(-values, kind="stable")[: truth.sum()]
            rows.append(
                {
                    **_about(run),
                    "role": str(run.provenance.get("model", {}).get("role", "")),
                    "method": column.removeprefix("suspicion_"),
                    "planted": int(truth.sum()),
                    "auc": 100.0 * roc_auc_score(truth, values),
                    "ap": 100.0 * average_precision_score(truth, values),
                    "found": 100.0 * truth[first].mean(),
                }
            )
    return pd.DataFrame(rows)


def chosen(workspace: Workspace, runs: Sequence[str] | None) -> list[ScoreRun]:
    """Return the named runs, or all. Raises DataError when there is none."""
    found = [read_run(workspace, name) for name in runs] if runs else list(list_score_runs(workspace).values())
    if not found:
        raise DataError("there are no scores of pairs yet. Score a tuned model first.")
    return found


def _about(run: ScoreRun) -> dict[str, str]:
    provenance = run.provenance
    return {
        "run": run.name,
        "model": str(provenance.get("model", {}).get("name", "")),
        "training": str(provenance.get("training", {}).get("name", "")),
    }
