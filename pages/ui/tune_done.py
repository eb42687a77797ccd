"""What the last tuning brought, in a line, once it is done: its card and its progress are gone then."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fvm_core.jobs.status import JobStatus
from fvm_core.workspace import Workspace
from pages.ui import links
from pages.ui.curves import SMALL
from pages.ui.scales import power_of_ten
from pages.ui.text import plain
from pages.ui.times import duration
from pages.ui.tune_watch import model_metrics

MEASURES = {
    "val_loss": "validation loss", "val_accuracy": "validation accuracy", "sam_gap": "SAM gap",
    "random_sharpness": "sharpness along random directions", "top_eigenvalue": "top Hessian eigenvalue",
}  # fmt: skip


def draw(workspace: Workspace, last: JobStatus) -> None:
    """Draw it for a job that made a model, with the way to Score; nothing where the model is gone."""
    name = str((last.result or {}).get("model", ""))
    folder = workspace.models / name
    if not name or not folder.is_dir():
        return
    measured = "; ".join(changes(model_metrics(folder)))
    words = f"**{plain(name)}** is tuned, in {duration(last.worked)}" + (f": {measured}." if measured else ".")
    with st.container(border=True):
        st.markdown(f":material/check_circle: {words}")
        links.link("score", "Score the training set with it")


def changes(frame: pd.DataFrame) -> list[str]:
    """Return each measure before and after, in words.

    >>> changes(pd.DataFrame({"val_loss": [0.5, None, 0.02], "val_accuracy": [0.7, None, 0.96]}))
    ['validation loss 0.5 → 0.02', 'validation accuracy 70.0 → 96.0 %']
    """
    found = []
    for metric, title in MEASURES.items():
        known = frame[metric].dropna() if metric in frame else pd.Series(dtype=float)
        if len(known):
            before, after = known.iloc[0], known.iloc[-1]
            if metric == "val_accuracy":
                found.append(f"{title} {100 * before:.1f} → {100 * after:.1f} %")
            else:
                found.append(f"{title} {short(before)} → {short(after)}")
    return found


def short(value: float) -> str:
    """Return a number with two digits that count, as a student reads it.

    >>> short(0.0261), short(15.58), short(366.7), short(3.1e-6)
    ('0.026', '16', '367', '3.1×10⁻⁶')
    """
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}"
    if not 0 < size < SMALL:
        return f"{value:.2g}"
    digits, exponent = f"{value:.1e}".split("e")
    return f"{digits}×{power_of_ten(int(exponent))}"
