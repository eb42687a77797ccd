"""Curves of training and tuning: six small charts side by side, one colour a solver."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.theme import role_colour

MOST_POINTS = 250
DASHES = ("solid", "dash", "dot", "dashdot")
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


@dataclass(frozen=True)
class Run:
    """One line in every chart: `frame` has the column `step` and the metrics; `role` (vm, fvm, ...) sets the colour."""

    label: str
    role: str
    frame: pd.DataFrame


def dashes(runs: Sequence[Run]) -> list[str]:
    """Return a dash for each run: solid for the first of its role, others for the next ones of the same colour."""
    seen: dict[str, int] = {}
    result = []
    for run in runs:
        count = seen.get(run.role, 0)
        result.append(DASHES[count % len(DASHES)])
        seen[run.role] = count + 1
    return result


def curves(runs: Sequence[Run], *, panels: dict[str, str], columns: int = 3, row_height: int = 235) -> go.Figure:
    """Return a figure with one chart for each of `panels` (metric -> title); a metric not measured stays empty.

    In the first chart of the tuning the loss of the single batches (`train_loss`) runs thin behind `val_loss`.
    """
    rows = -(-len(panels) // columns)
    figure = make_subplots(
        rows=rows, cols=columns, subplot_titles=list(panels.values()), horizontal_spacing=0.07, vertical_spacing=0.2
    )
    for run, dash in zip(runs, dashes(runs), strict=True):
        colour = role_colour(run.role)
        shown = False
        for place, metric in enumerate(panels):
            row, column = divmod(place, columns)
            if metric == "val_loss":
                _line(figure, run, "train_loss", row, column, {"color": colour, "width": 1}, opacity=0.35)
            shown |= _line(
                figure, run, metric, row, column, {"color": colour, "width": 2.5, "dash": dash}, legend=not shown
            )
    for place, metric in enumerate(panels):
        row, column = divmod(place, columns)
        if metric == "val_accuracy":
            figure.update_yaxes(tickformat=".1%", row=row + 1, col=column + 1)
        if not any(metric in run.frame and run.frame[metric].notna().any() for run in runs):
            axis = "" if place == 0 else str(place + 1)
            figure.add_trace(
                go.Scatter(x=[0, 1], y=[0, 1], opacity=0, showlegend=False, hoverinfo="skip"), row + 1, column + 1
            )
            figure.update_yaxes(showticklabels=False, row=row + 1, col=column + 1)
            figure.add_annotation(
                text="not measured yet", showarrow=False, xref=f"x{axis} domain", yref=f"y{axis} domain", x=0.5, y=0.5,
                opacity=0.6,
            )  # fmt: skip
    figure.update_xaxes(rangemode="tozero", showgrid=False, nticks=5)
    figure.update_yaxes(nticks=5)
    figure.update_xaxes(title_text="step", title_standoff=4, row=rows)
    figure.update_annotations(font_size=14)
    figure.update_layout(
        height=row_height * rows + 60,
        margin={"l": 10, "r": 10, "t": 60, "b": 10},
        legend={"orientation": "h", "yanchor": "bottom", "y": 1.08 if rows > 1 else 1.16, "x": 0},
        hovermode="x unified",
        uirevision="keep",
    )
    return figure


def _line(
    figure: go.Figure,
    run: Run,
    metric: str,
    row: int,
    column: int,
    line: dict,
    *,
    opacity: float = 1.0,
    legend: bool = False,
) -> bool:
    if metric not in run.frame:
        return False
    points = run.frame[["step", metric]].dropna()
    if points.empty:
        return False
    points = points.iloc[:: -max(1, len(points) // MOST_POINTS)].iloc[::-1]
    figure.add_trace(
        go.Scatter(
            x=points["step"], y=points[metric], name=_safe(run.label), legendgroup=_safe(run.label),
            showlegend=legend, mode="lines+markers" if opacity == 1 and len(points) < 30 else "lines",
            line=line, marker={"size": 5}, opacity=opacity, hoverinfo="skip" if opacity < 1 else None,
        ),
        row=row + 1, col=column + 1,
    )  # fmt: skip
    return True


def _safe(label: str) -> str:
    """Plotly reads a little HTML in names: take its marks away."""
    return label.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
