"""How well each score finds and mends wrong labels, where the truth is known; computed once a file."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import Ranked, ranked, relabel_accuracy
from pages.ui.comparison import shared_samples, values
from pages.ui.score_sets import FileKey, ScoreFile


@st.cache_resource(show_spinner="Comparing the scores …", max_entries=128)
def _ranked(key: FileKey, token: str, _files: Sequence[ScoreFile], _of: ScoreFile) -> Ranked:
    """Return what the order of one file tells over the shared samples; the same for every choice that shares them."""
    samples = shared_samples(_files)
    suspicion = values(_files, _of, "suspicion")
    if samples.known.all():
        return ranked(suspicion, samples.wrong, points=300)
    return ranked(suspicion[samples.known], samples.wrong[samples.known], points=300)


@st.cache_resource(show_spinner=False, max_entries=128)
def _mended(key: FileKey, token: str, _files: Sequence[ScoreFile], _of: ScoreFile) -> tuple[float, float]:
    """Return relabel accuracy over all known samples and over the wrong ones; NaN where nothing is suggested."""
    if not METHODS[_of.method].relabels:
        return float("nan"), float("nan")
    samples = shared_samples(_files)
    suggested, clean = values(_files, _of, "suggested")[samples.known], samples.clean[samples.known]
    if not (suggested != -1).any():
        return float("nan"), float("nan")
    return relabel_accuracy(suggested, clean), relabel_accuracy(suggested, clean, samples.wrong[samples.known])


def detection_table(files: Sequence[ScoreFile], *, k: int) -> pd.DataFrame:
    """Return one row a file: label, model, method, auc, ap, precision (among the `k` most suspicious), relabel_all,
    relabel_wrong (all in %, NaN where unknown), speed (samples/s).

    Only samples whose truth is known count.

    Raises:
        DataError: only clean or only wrong labels are known.
    """
    token = shared_samples(files).token
    rows = []
    for item in files:
        order = _ranked(item.key, token, files, item)
        everything, mended = _mended(item.key, token, files, item)
        speed = item.provenance.get("samples_per_second")
        among = min(k, order.total)
        rows.append(
            {
                "label": item.label, "model": f"{item.run}/{item.model_hash}", "method": item.method,
                "auc": 100 * order.auc, "ap": 100 * order.ap, "precision": 100 * order.found(among) / among,
                "relabel_all": 100 * everything, "relabel_wrong": 100 * mended,
                "speed": np.nan if speed is None else float(speed),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


def detection_curves(files: Sequence[ScoreFile]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (ROC, precision-recall) as long tables with columns method, fpr, tpr and method, recall, precision."""
    token = shared_samples(files).token
    roc, recall = [], []
    for item in files:
        found = _ranked(item.key, token, files, item).curves
        roc.append(pd.DataFrame({"method": item.label, "fpr": found.fpr, "tpr": found.tpr}))
        recall.append(pd.DataFrame({"method": item.label, "recall": found.recall, "precision": found.precision}))
    return pd.concat(roc, ignore_index=True), pd.concat(recall, ignore_index=True)
