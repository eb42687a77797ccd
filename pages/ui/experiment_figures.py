"""Figures 1 and 2 of the paper as they were measured. Pure: tables in, `go.Figure` out."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from fvm_core.experiments.render import gaps
from pages.ui.figures import finish
from pages.ui.theme import BASE, FVM, NEUTRAL, VM

MODELS = {"base": ("Base", BASE, "circle"), "vm": ("VM", VM, "square"), "fvm": ("FVM", FVM, "diamond")}
SERIES = {
    "accuracy": ("Validation accuracy", NEUTRAL, "solid", "circle"),
    "standard": ("LiSSA (second-order), AUC", BASE, "dash", "square"),
    "tracin": ("TracIn (first-order), AUC", VM, "dot", "diamond"),
}
LEGEND = {"orientation": "h", "x": 0, "y": 1.08, "yanchor": "bottom"}


def newton_gaps(frame: pd.DataFrame) -> go.Figure:
    """Draw Fig. 1: medians over samples of the true change of the risk, and of the gaps of both estimates, over the
    length of the step, from columns model, sample, length, true, first, second (nats)."""
    panels = {
        "true change": "<b>True change of the risk</b>", "gap, first order": "<b>Gap, first order</b>",
        "gap, second order": "<b>Gap, second order</b>",
    }  # fmt: skip
    figure = make_subplots(rows=1, cols=3, subplot_titles=list(panels.values()), horizontal_spacing=0.08)
    medians = gaps(frame)
    for model, (name, colour, symbol) in MODELS.items():
        part = medians[medians["model"] == model].sort_values("length")
        if part.empty:
            continue
        for column, key in enumerate(panels, start=1):
            figure.add_scatter(
                x=part["length"], y=part[key], name=name, legendgroup=name, showlegend=column == 1, row=1, col=column,
                mode="lines+markers", line={"color": colour, "width": 2.6}, marker={"size": 8, "symbol": symbol},
                hovertemplate="length %{x}: %{y:.3g} nats<extra>" + name + "</extra>",
            )  # fmt: skip
    figure.update_xaxes(title_text="Length of the Newton step", type="log")
    figure.update_yaxes(exponentformat="power")
    figure.update_yaxes(title_text="nats", row=1, col=1)
    return finish(figure, height=430, legend={**LEGEND, "y": 1.14})


def along_training(frame: pd.DataFrame) -> go.Figure:
    """Draw Fig. 2: validation accuracy and the AUC of LiSSA and TracIn over the epochs, in %, from columns epoch,
    series, value."""
    figure = go.Figure()
    for series, (name, colour, dash, symbol) in SERIES.items():
        part = frame[frame["series"] == series].sort_values("epoch")
        if len(part):
            figure.add_scatter(
                x=part["epoch"], y=part["value"], name=name, mode="lines+markers",
                line={"color": colour, "dash": dash, "width": 2.6}, marker={"size": 9, "symbol": symbol},
                hovertemplate="epoch %{x}: %{y:.2f}%<extra>" + name + "</extra>",
            )  # fmt: skip
    figure.update_xaxes(title_text="Epoch of the base training")
    figure.update_yaxes(title_text="%")
    return finish(figure, height=420, legend=LEGEND)
