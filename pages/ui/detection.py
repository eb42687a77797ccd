"""How well each score finds and mends wrong labels, where the truth is known; computed once a choice of files."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap, curves, relabel_accuracy, top
from pages.ui.comparison import Samples, keys_of, shared_samples, values
from pages.ui.score_sets import FileKey, ScoreFile


@st.cache_data(show_spinner="Comparing the scores …", max_entries=24)
def _table(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile], k: int) -> pd.DataFrame:
    samples = shared_samples(_files)
    truth = samples.wrong[samples.known]
    rows = []
    for number, item in enumerate(_files):
        auc, ap, found = _found(keys, number, _files, samples)
        everything, mended = _mended(_files, item, samples)
        speed = item.provenance.get("samples_per_second")
        rows.append(
            {
                "label": item.label, "model": f"{item.run}/{item.model_hash}", "method": item.method, "auc": 100 * auc,
                "ap": 100 * ap, "precision": 100 * float(found[min(k, len(truth)) - 1] / min(k, len(truth))),
                "relabel_all": 100 * everything, "relabel_wrong": 100 * mended,
                "speed": np.nan if speed is None else float(speed),
            }
        )  # fmt: skip
    return pd.DataFrame(rows)


@st.cache_data(show_spinner=False, max_entries=128)
def _found(
    keys: tuple[FileKey, ...], number: int, _files: Sequence[ScoreFile], _samples: Samples
) -> tuple[float, float, NDArray[np.int64]]:
    """Return AUC, AP and how many wrong labels are among the 1, 2, ... most suspicious."""
    suspicion = values(_files, _files[number], "suspicion").astype(float)[_samples.known]
    truth = _samples.wrong[_samples.known]
    auc, ap = auc_ap(suspicion, truth)
    return auc, ap, np.cumsum(truth[top(suspicion, len(truth))])


def _mended(files: Sequence[ScoreFile], item: ScoreFile, samples: Samples) -> tuple[float, float]:
    """Return relabel accuracy over all known samples and over the wrong ones; NaN where nothing is suggested."""
    if not METHODS[item.method].relabels:
        return float("nan"), float("nan")
    suggested, clean = values(files, item, "suggested")[samples.known], samples.clean[samples.known]
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
    return _table(keys_of(files), files, k)


@st.cache_data(show_spinner=False, max_entries=24)
def _curves(keys: tuple[FileKey, ...], _files: Sequence[ScoreFile]) -> tuple[pd.DataFrame, pd.DataFrame]:
    samples = shared_samples(_files)
    roc, recall = [], []
    for item in _files:
        suspicion = values(_files, item, "suspicion").astype(float)[samples.known]
        found = curves(suspicion, samples.wrong[samples.known], points=300)
        roc.append(pd.DataFrame({"method": item.label, "fpr": found.fpr, "tpr": found.tpr}))
        recall.append(pd.DataFrame({"method": item.label, "recall": found.recall, "precision": found.precision}))
    return pd.concat(roc, ignore_index=True), pd.concat(recall, ignore_index=True)


def detection_curves(files: Sequence[ScoreFile]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return (ROC, precision-recall) as long tables with columns method, fpr, tpr and method, recall, precision."""
    return _curves(keys_of(files), files)
