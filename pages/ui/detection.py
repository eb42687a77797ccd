"""How well each score finds and mends wrong labels, where the truth is known; computed once a choice of files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap, curves, relabel_accuracy
from pages.ui.comparison import keys_of, shared_samples, values
from pages.ui.score_sets import FileKey, ScoreFile


@st.cache_data(show_spinner=False, max_entries=24)
def _table(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile], k: int) -> pd.DataFrame:
    samples = shared_samples(_files)
    known, wrong = samples.known, samples.wrong
    rows = []
    for item in _files:
        suspicion = values(_files, item, "suspicion").astype(float)[known]
        truth = wrong[known]
        auc, ap = auc_ap(suspicion, truth)
        top = np.argsort(-suspicion, kind="stable")[:k]
        everything, mended = np.nan, np.nan
        suggested = values(_files, item, "suggested")[known] if METHODS[item.method].relabels else np.array([-1])
        if (suggested != -1).any():
            everything = relabel_accuracy(suggested, samples.clean[known])
            mended = relabel_accuracy(suggested[truth], samples.clean[known][truth])
        speed = item.provenance.get("samples_per_second")
        rows.append(
            {
                "label": item.label, "model": f"{item.run}/{item.model_hash}", "method": item.method, "auc": 100 * auc,
                "ap": 100 * ap, "relabel_all": 100 * everything, "relabel_wrong": 100 * mended,
                "precision": 100 * float(truth[top].mean()), "speed": np.nan if speed is None else float(speed),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def detection_table(files: Sequence[ScoreFile], *, k: int) -> pd.DataFrame:
    """Return one row a file: label, model, method, auc, ap, relabel_all, relabel_wrong, precision (in %, among the `k`
    most suspicious), speed (samples/s). Only samples whose truth is known count; both kinds must be among them."""
    return _table(keys_of(files), files, k)


@st.cache_data(show_spinner=False, max_entries=24)
def _curves(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile]) -> tuple[pd.DataFrame, pd.DataFrame]:
    samples = shared_samples(_files)
    roc, recall = [], []
    for item in _files:
        found = curves(values(_files, item, "suspicion").astype(float)[samples.known], samples.wrong[samples.known])
        roc.append(pd.DataFrame({"method": item.label, "fpr": found.fpr, "tpr": found.tpr}))
        recall.append(pd.DataFrame({"method": item.label, "recall": found.recall, "precision": found.precision}))
    return pd.concat(roc, ignore_index=True), pd.concat(recall, ignore_index=True)


def detection_curves(files: Sequence[ScoreFile]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (ROC, precision-recall) as long tables with columns method, fpr, tpr and method, recall, precision."""
    return _curves(keys_of(files), files)
