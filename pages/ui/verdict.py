"""Does the influence score earn its cost? It is held against plain baselines of the very same model."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from fvm_core.influence.methods import METHODS
from pages.ui.score_sets import BASELINES

MEASURES = {"auc": "AUC", "ap": "AP", "relabel_wrong": "relabel accuracy on the wrong labels"}


def verdicts(table: pd.DataFrame, *, level: float = 0.1) -> list[tuple[str, str]]:
    """Return (kind, sentence) for every influence score in `table`; kind is "beaten", "ahead", "level" or "alone".

    `table` has columns label, model (a key of the model), method, auc, ap, relabel_wrong (all in percent, NaN where
    unknown). Differences below `level` percentage points count as level. Sentences are plain text.
    """
    found = []
    for row in table[~table["method"].isin(BASELINES)].itertuples():
        rivals = table[(table["model"] == row.model) & table["method"].isin(BASELINES)]
        found.append(_verdict(row, rivals, level))
    return found


def _verdict(row: object, rivals: pd.DataFrame, level: float) -> tuple[str, str]:
    label = getattr(row, "label")  # noqa: B009
    if rivals.empty:
        return "alone", (
            f"{label}: no plain baseline of the same model was scored, so nobody knows whether it adds anything. "
            "Score loss, margin and EL2N with it."
        )
    better, worse = [], []
    for measure, name in MEASURES.items():
        own, others = float(getattr(row, measure)), rivals[measure].dropna()
        if pd.isna(own) or others.empty:
            continue
        best = rivals.loc[others.idxmax()]
        figures = f"{name} {own:.1f} against {best[measure]:.1f} ({title(best['method'])})"
        if best[measure] > own + level:
            better.append(figures)
        elif own > best[measure] + level:
            worse.append(figures)
    if better:
        tail = f"; it is ahead in {_join(worse)}" if worse else ""
        return "beaten", f"{label} is beaten by a plain baseline of the same model: {_join(better)}{tail}."
    if worse:
        return "ahead", f"{label} is ahead of every plain baseline of the same model: {_join(worse)}."
    return "level", f"{label} and the best plain baseline of the same model are level (within {level:g} points)."


def title(method: str) -> str:
    """Return a method's title in the middle of a sentence.

    >>> title("loss"), title("el2n")
    ('cross-entropy loss', 'EL2N')
    """
    name = METHODS[method].title
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
