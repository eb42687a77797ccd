"""How well planted wrong targets are found: by each suspicion at each model, the plain loss among them."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.workspace import Workspace
from pages.ui import chart
from pages.ui.generation_runs import Group, tables
from pages.ui.generation_watch import TITLES

SUSPICIONS = {"influence": "Eq. 21", "loss": "Loss", "tracin": "−TracIn, mean", "datainf": "−DataInf, mean"}
CLOSE = 0.5
"""In percent: a smaller difference is called level."""


def draw(workspace: Workspace, group: Group) -> None:
    """Draw the table, where some were planted."""
    frames = []
    for run in group.runs:
        try:
            frames.append(tables(workspace, run.name)[1])
        except FVMError:
            continue
    frames = [frame for frame in frames if len(frame)]
    if not frames:
        return
    found = pd.concat(frames, ignore_index=True)
    st.subheader("Planted wrong targets found")
    st.dataframe(
        pd.DataFrame(
            {
                "Suspicion": [SUSPICIONS.get(one, one) for one in found["method"]],
                "Model": [TITLES.get(one, one) for one in found["role"]], "Scores": found["run"],
                "ROC AUC": found["auc"].map("{:.2f}".format), "AP": found["ap"].map("{:.2f}".format),
                "Among the first": found["found"].map("{:.2f}".format),
            }
        ),
        hide_index=True, height="content",
    )  # fmt: skip
    st.caption(f"{ahead(found)} In percent; among the first: of the {found['planted'].max():,} most suspicious pairs.")
    chart.csv_button(found, name="generation-planted", label="Table as CSV")


def ahead(found: pd.DataFrame) -> str:
    """Return in words whether a plain loss or a score finds the planted targets better: the best of each, by ROC AUC
    and by AP. Empty where one of the two is missing.

    `found`: rows of `wrong_table`, of models that are compared.
    """
    told = []
    for column, word in (("auc", "by ROC AUC"), ("ap", "by AP")):
        rows = sorted(found.to_dict("records"), key=lambda row: -float(row[column]))
        loss = next((row for row in rows if row["method"] == "loss"), None)
        score = next((row for row in rows if row["method"] != "loss"), None)
        if loss is None or score is None:
            return ""
        first, second = (score, loss) if score[column] > loss[column] else (loss, score)
        close = first[column] - second[column] < CLOSE
        between = "is level with" if close else "is ahead of"
        told.append(f"{word} {_named(first, column)} {between} {_named(second, column)}")
    return f"{'; '.join(told)}.".replace("by", "By", 1)


def _named(row: Mapping[Hashable, Any], column: str) -> str:
    method, role = str(row["method"]), str(row["role"])
    return f"{SUSPICIONS.get(method, method)} at {TITLES.get(role, role)} ({row[column]:.2f})"
