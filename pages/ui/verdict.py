"""Does the influence score earn its cost? It is held against plain baselines of the very same model."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import pandas as pd

from fvm_core.influence.methods import METHODS
from fvm_core.influence.uncertainty import auc_standard_error, share_standard_error
from pages.ui.score_sets import BASELINES

MEASURES = {"auc": "AUC", "ap": "AP", "relabel_wrong": "relabel accuracy on the wrong labels"}
Error = Callable[[float], float]


def verdicts(table: pd.DataFrame, *, wrong: int, clean: int) -> list[tuple[str, str]]:
    """Return (kind, sentence) for every influence score in `table`; kind is "beaten", "ahead", "level" or "alone".

    `table` has columns label, model (a key of the model), method, auc, ap, relabel_wrong (all in percent, NaN where
    unknown), measured on `wrong` mislabeled and `clean` other samples. Differences below two standard errors (taken
    as if the two scores were independent, so on the careful side) count as level. Sentences are plain text.
    """
    errors: dict[str, Error] = {
        "auc": lambda share: auc_standard_error(share, wrong=wrong, clean=clean),
        "ap": lambda share: share_standard_error(share, n=wrong),
        "relabel_wrong": lambda share: share_standard_error(share, n=wrong),
    }
    rows: list[dict[str, Any]] = [dict(zip(table.columns, row, strict=True)) for row in table.itertuples(index=False)]
    baselines = [row for row in rows if row["method"] in BASELINES]
    return [
        _verdict(row, [rival for rival in baselines if rival["model"] == row["model"]], errors)
        for row in rows
        if row["method"] not in BASELINES
    ]


def _verdict(own: dict[str, Any], rivals: Sequence[dict[str, Any]], errors: dict[str, Error]) -> tuple[str, str]:
    label = own["label"]
    if not rivals:
        return "alone", (
            f"{label}: no plain baseline of the same model was scored, so nobody knows whether it adds anything. "
            "Score loss, margin and EL2N with it."
        )
    behind: list[str] = []
    ahead: list[str] = []
    for measure, name in MEASURES.items():
        others = [rival for rival in rivals if not pd.isna(rival[measure])]
        if pd.isna(own[measure]) or not others:
            continue
        best = max(others, key=lambda rival: rival[measure])
        gap = own[measure] - best[measure]
        noise = 200 * math.hypot(*(errors[measure](value / 100) for value in (own[measure], best[measure])))
        figures = f"{name} {own[measure]:.1f} against {best[measure]:.1f} ({title(best['method'])})"
        if abs(gap) > noise:
            (ahead if gap > 0 else behind).append(figures)
    if behind:
        tail = f"; it is ahead in {_join(ahead)}" if ahead else ""
        return "beaten", f"{label} is beaten by a plain baseline of the same model: {_join(behind)}{tail}."
    if ahead:
        return "ahead", f"{label} is ahead of every plain baseline of the same model: {_join(ahead)}."
    return "level", f"{label} and the best plain baseline of the same model are level (within two standard errors)."


def title(method: str) -> str:
    """Return a method's title in the middle of a sentence.

    >>> title("loss"), title("el2n")
    ('cross-entropy loss', 'EL2N')
    """
    name = METHODS[method].title
    return name if name[:2].isupper() else name[:1].lower() + name[1:]


def _join(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else f"{', '.join(parts[:-1])} and {parts[-1]}"
