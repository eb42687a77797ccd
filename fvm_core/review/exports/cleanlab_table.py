"""cleanlab's table of label issues, as `Datalab.get_issues("label")` returns and `CleanLearning.fit` takes it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fvm_core.files import atomic_write
from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import ranks
from fvm_core.review.exports.bundle import Bundle
from fvm_core.review.exports.images import outcome

LIKELIHOODS = ("posterior", "loss")
"""Methods whose score is minus the log of a probability of the given label."""


def write(bundle: Bundle, target: Path, tell: Any = None) -> dict[str, Any]:
    """Write `issue_table` as Parquet; its index, the sample's id, comes back by `pandas.read_parquet`."""
    with atomic_write(target) as file:
        issue_table(bundle.frame).to_parquet(file)
    return outcome(bundle, {})


def issue_table(frame: pd.DataFrame) -> pd.DataFrame:
    """Return cleanlab's four columns, indexed by id, for rows with the columns of an export.

    `is_label_issue`: what the person decided (label changed or not); where nobody decided or it was skipped, whether
    the suggestion differs from the given label. `label_score` in [0, 1], low = likely wrong: see `quality`.
    `given_label`, `predicted_label`: class numbers; predicted is the reviewed label, undecided the suggested one.
    """
    given = frame["given_label"].to_numpy(np.int64)
    suggested = frame["suggested"].to_numpy(np.int64)
    decided = ~frame["action"].isin(["", "skip"]).to_numpy()
    label = frame["label"].to_numpy(np.int64)
    predicted = np.where(decided, label, np.where(suggested >= 0, suggested, given))
    return pd.DataFrame(
        {
            "is_label_issue": predicted != given,
            "label_score": quality(frame),
            "given_label": given,
            "predicted_label": predicted,
        },
        index=pd.Index(frame["id"].astype(str), name="id"),
    )


def quality(frame: pd.DataFrame) -> NDArray[np.float64]:
    """Return (n,) label quality in [0, 1], low = likely wrong; NaN where there is no score.

    For methods whose score is minus a log-probability of the given label, that probability (cleanlab's self-confidence
    where the method is the loss). For any other, the share of the rows scored by the same method that are at least as
    suspicious: a rank, no probability.
    """
    score = frame["score"].to_numpy(np.float64)
    found = np.full(len(frame), np.nan)
    for method, rows in frame.groupby("method", sort=False).indices.items():
        rows = rows[np.isfinite(score[rows])]
        if method in LIKELIHOODS:
            found[rows] = np.exp(-np.maximum(score[rows], 0.0))
        elif method in METHODS and len(rows):
            found[rows] = 1 - ranks(METHODS[str(method)].suspicious * score[rows])
    return found
