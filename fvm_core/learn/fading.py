"""Fig. 3b as histograms: scores of clean and mislabeled samples under each snapshot, on common bins."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fvm_core.errors import DataError


@dataclass(frozen=True)
class Fading:
    """One step: counts (bins,) of both kinds between `edges` (bins + 1,), and the median of |score| of each kind."""

    step: int
    edges: NDArray[np.float64]
    clean: NDArray[np.int64]
    wrong: NDArray[np.int64]
    median_clean: float
    median_wrong: float


def fading(frame: pd.DataFrame, method: str, *, bins: int = 60, logarithmic: bool = False) -> list[Fading]:
    """Return the histograms of `method` over the snapshots in `frame` (columns step, method, score, mislabeled).

    All steps share edges: from the least to the largest score of all steps, evenly spaced, or evenly in log10 (values
    <= 0 count into the first bin then). Samples of unknown truth are left out.

    Raises:
        DataError: no sample of `method` with a known truth.
    """
    part = frame[(frame["method"] == method) & frame["mislabeled"].notna()]
    if part.empty:
        raise DataError(f"the snapshots must hold `{method}` scores of samples whose true label is known, but do not.")
    scores = part["score"].to_numpy(dtype=float)
    if logarithmic:
        positive = scores[scores > 0]
        low, high = (np.log10(positive.min()), np.log10(positive.max())) if len(positive) else (0.0, 1.0)
        edges = 10.0 ** np.linspace(low, max(high, low + 1e-6), bins + 1)
    else:
        low, high = scores.min(), scores.max()
        edges = np.linspace(low, max(high, low + 1e-12), bins + 1)
    out = []
    for step, rows in part.groupby("step", sort=True):
        wrong = rows["mislabeled"].to_numpy(dtype=bool)
        values = rows["score"].to_numpy(dtype=float)
        inside = np.clip(values, edges[0], edges[-1])
        counts = [np.histogram(inside[kind], edges)[0] for kind in (~wrong, wrong)]
        medians = [float(np.median(np.abs(values[kind]))) if kind.any() else float("nan") for kind in (~wrong, wrong)]
        out.append(Fading(int(str(step)), edges, counts[0], counts[1], medians[0], medians[1]))
    return out
