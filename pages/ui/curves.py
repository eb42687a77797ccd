"""Curves of training and tuning: small charts side by side, one colour a solver.

Drawn with Altair: Streamlit keeps a Vega chart in place when its data grow, while a Plotly chart is built anew at every
update (measured: gone half of the time when a fragment ran every second).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

import altair as alt
import pandas as pd

from pages.ui.scales import power_of_ten
from pages.ui.theme import NEUTRAL, role_colour

DASHES: tuple[tuple[int, ...], ...] = ((1, 0), (7, 4), (2, 3), (8, 3, 2, 3))
BORDERS = ("solid", "dashed", "dotted", "double")
THIN, WIDER = 2.0, 2.5
"""The line on top, and by how much a line below another is wider: so that both are seen where they are the same."""
MOST_POINTS = 250
HEIGHT = 210
TUNING_PANELS: dict[str, str] = {
    "val_loss": "Loss on the clean validation set",
    "noisy_loss": "Loss on the noisy training set",
    "val_accuracy": "Validation accuracy",
    "sam_gap": "SAM gap L(w+e) − L(w)",
    "random_sharpness": "Sharpness, random directions",
    "top_eigenvalue": "Top Hessian eigenvalue",
}
TRAINING_PANELS: dict[str, str] = {
    "train_loss": "Loss of the training batches",
    "noisy_loss": "Loss on the noisy training set",
    "val_accuracy": "Validation accuracy",
}
BEHIND = {"val_loss": "train_loss"}
"""Metrics drawn thin behind others: the loss of the single batches, which are validation samples during a tuning."""


SMALL = 1e-3
"""A number below is written with a power of ten."""
_POWER = "ceil(-log(abs(datum.value)) / LN10 - 1e-9)"
NUMBERS = (
    f"datum.value == 0 || abs(datum.value) >= {SMALL} ? format(datum.value, '.3~r') : "
    f"format(datum.value * pow(10, {_POWER}), '.2~r') + '×' + {[power_of_ten(-k) for k in range(40)]}[{_POWER}]"
)
"""Vega's expression of a number at an axis: a student reads 5×10⁻⁶ more easily than 0.000005."""


@dataclass(frozen=True)
class Run:
    """One line in every chart: `frame` has the column `step` and the metrics; `role` (vm, fvm, ...) sets the colour."""

    label: str
    role: str
    frame: pd.DataFrame


def dashes(runs: Sequence[Run]) -> list[tuple[int, ...]]:
    """Return a dash pattern for each run: solid for the first of its role, others for the next of the same colour."""
    seen: dict[str, int] = {}
    result = []
    for run in runs:
        result.append(DASHES[seen.get(run.role, 0) % len(DASHES)])
        seen[run.role] = seen.get(run.role, 0) + 1
    return result


def points(runs: Sequence[Run], metric: str, *, positive: bool = False) -> pd.DataFrame:
    """Return columns step, value, run: at most 250 points a run, the last one always among them.

    `positive` leaves out values that a logarithmic axis cannot show.
    """
    tables = [pd.DataFrame({"step": [], "value": [], "run": []})]
    for run in runs:
        if metric in run.frame:
            known = run.frame[["step", metric]].dropna()
            known = known[known[metric] > 0] if positive else known
            known = known.iloc[:: -max(1, len(known) // MOST_POINTS)].iloc[::-1]
            tables.append(known.rename(columns={metric: "value"}).assign(run=run.label))
    return pd.concat([table for table in tables if len(table)] or tables[:1], ignore_index=True)


def panel(runs: Sequence[Run], metric: str, title: str, *, log: bool = False) -> alt.LayerChart | alt.FacetChart:
    """Return the chart of one metric over the steps; words in its place while nothing was measured."""
    table = points(runs, metric, positive=log)
    labels, colours = [run.label for run in runs], [role_colour(run.role) for run in runs]
    look: dict[str, Any] = {"tickCount": 4, "labelFlush": False}
    below = alt.Axis(grid=False, titleFontSize=12, titleFontWeight="normal", titlePadding=4, **look)
    x = alt.X("step:Q", title="step", axis=below, scale=alt.Scale(zero=True, nice=False))
    form: dict[str, Any] = {"format": ".1~%"} if metric == "val_accuracy" else {"labelExpr": NUMBERS}
    scale = alt.Scale(type="log") if log else alt.Scale(zero=False)
    y = alt.Y("value:Q", title=None, axis=alt.Axis(labelOverlap=log, **look, **form), scale=scale)
    colour = alt.Color("run:N", legend=None, scale=alt.Scale(domain=labels, range=colours))
    dash = alt.StrokeDash(
        "run:N", legend=None, scale=alt.Scale(domain=labels, range=[list(pattern) for pattern in dashes(runs)])
    )
    widths = [THIN + WIDER * min(under, 2) for under in reversed(range(len(runs)))]
    width = alt.Size("run:N", legend=None, scale=alt.Scale(domain=labels, range=widths))
    tooltip = [
        alt.Tooltip("run:N", title="tuning"), alt.Tooltip("step:Q"), alt.Tooltip("value:Q", title=title, format=".4g")
    ]  # fmt: skip
    layers: list[alt.Chart] = []
    if metric in BEHIND and len(behind := points(runs, BEHIND[metric], positive=log)):
        layers.append(alt.Chart(behind).mark_line(strokeWidth=1, opacity=0.35).encode(x=x, y=y, color=colour))
    if len(table):
        first = float(table["run"].value_counts().min() == 1)  # a line of one point is none
        marks = alt.OverlayMarkDef(filled=False, strokeWidth=5, opacity=first)  # where a pointer finds the numbers
        line = alt.Chart(table).mark_line(strokeWidth=2.5, point=marks if len(table) < 40 * len(runs) else False)
        layers.append(line.encode(x=x, y=y, color=colour, strokeDash=dash, size=width, tooltip=tooltip))
    if not layers:
        words = pd.DataFrame({"text": ["not measured yet"]})
        layers.append(alt.Chart(words).mark_text(color=NEUTRAL, fontSize=13).encode(text="text:N"))
    heading = alt.TitleParams(title, anchor="start", fontSize=14, fontWeight=600, offset=8)
    return alt.layer(*layers).properties(height=HEIGHT, title=heading)


def legend(runs: Sequence[Run]) -> str:
    """Return HTML that names the lines: a stroke in the colour and dash of each run, then its label, escaped."""
    items = []
    for run, pattern in zip(runs, dashes(runs), strict=True):
        border = f"border-top:3px {BORDERS[DASHES.index(pattern)]} {role_colour(run.role)}"
        stroke = f'<span style="display:inline-block;width:2.2em;vertical-align:middle;{border}"></span>'
        items.append(f'<span style="white-space:nowrap;margin-right:1.4em">{stroke} {escape(run.label)}</span>')
    return f'<div style="font-size:0.9rem;line-height:1.7">{"".join(items)}</div>'
