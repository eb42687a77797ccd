"""The charts of the Compare page. Pure: tables in, `go.Figure` out; transparent, so that light and dark both fit."""

from __future__ import annotations

import html
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.figure_data import settle
from pages.ui.scales import Scale
from pages.ui.theme import BASE, CLEAN, FVM, MISLABELED, NEUTRAL

GROUP_COLOURS = {"clean": CLEAN, "mislabeled": MISLABELED, "all samples": NEUTRAL, "truth unknown": NEUTRAL}
GROUP_COLOURS |= {"same class": CLEAN, "other classes": MISLABELED}
DASHES = {  # a name of plotly's, or lengths of strokes and gaps; the influence score's line is solid
    "loss": "dot", "margin": "dashdot", "el2n": "longdash", "confident": "longdashdot", "standard": "dash",
    "datainf": "3px,6px", "ekfac": "14px,4px", "influence_ekfac": "22px,3px", "influence_lissa": "22px,3px,3px,3px",
    "influence_datainf": "22px,3px,3px,3px,3px,3px", "first_train": "6px,6px", "first_val": "6px,2px",
    "second_train": "12px,3px,6px,3px", "posterior": "1px,2px", "error_influence": "10px,2px,2px,2px",
    "typical_influence": "7px,2px,2px,2px",
    "logit_margin": "18px,4px,2px,4px", "tracin": "9px,3px", "gex": "16px,8px",
}  # fmt: skip
ROOM = {"l": 64, "b": 52}
GRID = "rgba(128,128,128,0.22)"
DIVERGING = [[0.0, MISLABELED], [0.5, "#F2F0EA"], [1.0, CLEAN]]


@dataclass(frozen=True)
class LineStyle:
    """How a method is drawn in every chart: the colour says the model, the dash says the method."""

    colour: str
    dash: str = "solid"
    width: float = 2.6
    group: str = ""


def text(value: object) -> str:
    """Return `value` safe inside plotly's pseudo-HTML.

    >>> text("<a href=x>")
    '&lt;a href=x&gt;'
    """
    return html.escape(str(value), quote=False)


def faded(colour: str, alpha: float) -> str:
    """Return the `#RRGGBB` colour with opacity `alpha`.

    >>> faded("#0072B2", 0.5)
    'rgba(0,114,178,0.5)'
    """
    red, green, blue = (int(colour[at : at + 2], 16) for at in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha})"


def finish(
    figure: go.Figure, *, height: int, keyed: bool = True, room: Mapping[str, int] | None = None, **layout: Any
) -> go.Figure:
    """Give a figure the look they all share; its numbers become lists (`settle`), so add all data before.

    `room` are margins in pixels ("l", "b", ...). With it plotly does not measure every axis (nor the legend, with "r")
    to find them, which takes a browser half of the time it needs to draw a figure of many panels.
    """
    measured = "r" not in (room or {})
    figure.update_layout(
        height=height,
        paper_bgcolor="rgba(0,0,0,0)",
        plot_bgcolor="rgba(0,0,0,0)",
        margin={"l": 10, "r": 10, "t": 40, "b": 10, "autoexpand": measured} | dict(room or {}),
        showlegend=keyed,
        hoverlabel={"namelength": -1},
        **layout,
    )
    figure.update_xaxes(gridcolor=GRID, zeroline=False, automargin=room is None)
    figure.update_yaxes(gridcolor=GRID, zeroline=False, automargin=room is None)
    return settle(figure)


def beside_legend(labels: Iterable[str]) -> dict[str, int]:
    """Return the margins of a chart with a legend of `labels` on its right; plotly measures a very long one itself."""
    longest = max((len(str(label)) for label in labels), default=0)
    return ROOM | ({"r": 64 + 7 * longest} if longest <= 40 else {})


def _named(style: LineStyle) -> dict[str, Any]:
    return {"line": {"color": style.colour, "dash": style.dash, "width": style.width}, "mode": "lines"}


CHANCE = {"color": NEUTRAL, "width": 1, "dash": "2px,4px"}


def detection(roc: pd.DataFrame, recall: pd.DataFrame, styles: Mapping[str, LineStyle], prevalence: float) -> go.Figure:
    """Draw ROC and precision-recall curves side by side with one legend; a click on it hides a method in both.

    `roc` has columns method, fpr, tpr and `recall` method, recall, precision, all 0 to 1; `prevalence` is the share of
    wrong labels, the precision of chance.
    """
    figure = make_subplots(
        rows=1, cols=2, horizontal_spacing=0.1, subplot_titles=["<b>ROC</b>", "<b>Precision-recall</b>"]
    )
    for column, frame, x, y in ((1, roc, "fpr", "tpr"), (2, recall, "recall", "precision")):
        for label, part in frame.groupby("method", sort=False):
            name = text(label)
            figure.add_scatter(
                x=part[x], y=part[y], name=name, legendgroup=name, showlegend=column == 1, row=1, col=column,
                hovertemplate="%{x:.3f}, %{y:.3f}<extra>" + name + "</extra>", **_named(styles[str(label)]),
            )  # fmt: skip
        figure.add_scatter(
            x=[0, 1], y=[0, 1] if column == 1 else [prevalence, prevalence], mode="lines", line=CHANCE, name="chance",
            legendgroup="chance", showlegend=column == 1, hoverinfo="skip", row=1, col=column,
        )  # fmt: skip
    for column, x_title, y_title in (
        (1, "False positive rate", "True positive rate"),
        (2, "Recall (wrong labels found)", "Precision"),
    ):
        figure.update_xaxes(title_text=x_title, range=[0, 1], row=1, col=column)
        figure.update_yaxes(title_text=y_title, range=[0, 1.01], row=1, col=column)
    count = roc["method"].nunique() + 1
    return finish(
        figure, height=max(440, 90 + 24 * count), legend={"font": {"size": 12}, "tracegroupgap": 0},
        room=beside_legend(roc["method"].unique()),
    )  # fmt: skip


def put_ticks(axis: Any, scale: Scale, low: float, high: float) -> None:
    """Label an axis whose positions come from `scale` at about five places; a linear one keeps plotly's own ticks."""
    ticks = scale.ticks(low, high, most=5)
    if ticks is not None:
        axis.update(tickmode="array", tickvals=ticks[0], ticktext=ticks[1])


def snapshot_auc(frame: pd.DataFrame) -> go.Figure:
    """Draw Fig. 3a: AUC (0 to 1) over tuning steps, from columns step, method ("standard" | "influence"), auc."""
    looks = {
        "influence": ("Influence at the minimum (ours)", FVM, "solid", "circle"),
        "standard": ("Standard influence", BASE, "dash", "square"),
    }
    figure = go.Figure()
    for method, (name, colour, dash, symbol) in looks.items():
        part = frame[frame["method"] == method].sort_values("step")
        if len(part):
            figure.add_scatter(
                x=part["step"],
                y=100 * part["auc"],
                mode="lines+markers",
                name=name,
                line={"color": colour, "dash": dash, "width": 2.6},
                marker={"size": 9, "symbol": symbol},
                hovertemplate="step %{x}: AUC %{y:.2f}%<extra>" + name + "</extra>",
            )
    figure.add_hline(
        y=50,
        line={"color": NEUTRAL, "width": 1, "dash": "dot"},
        annotation_text="chance",
        annotation_position="bottom right",
    )
    figure.update_xaxes(title_text="Tuning step")
    figure.update_yaxes(title_text="ROC AUC (%)")
    legend = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}
    return finish(figure, height=420, legend=legend)


def snapshot_boxes(boxes: pd.DataFrame, *, axis: str, colour: str = CLEAN, scale: Scale | None = None) -> go.Figure:
    """Draw Fig. 3b: one box a tuning step from columns step, low, q1, median, q3, high (own unit of the score)."""
    scale = scale or Scale()
    ordered = boxes.sort_values("step").copy()
    parts = ["low", "q1", "median", "q3", "high"]
    ordered[parts] = scale.forward(ordered[parts].to_numpy())
    figure = go.Figure(
        go.Box(
            x=[str(step) for step in ordered["step"]],
            q1=ordered["q1"],
            median=ordered["median"],
            q3=ordered["q3"],
            lowerfence=ordered["low"],
            upperfence=ordered["high"],
            name="",
            fillcolor=faded(colour, 0.28),
            line={"color": colour, "width": 1.6},
            boxpoints=False,
        )
    )
    figure.add_hline(y=0, line={"color": NEUTRAL, "width": 1, "dash": "dot"})
    figure.update_xaxes(title_text="Tuning step", type="category")
    figure.update_yaxes(title_text=text(axis), exponentformat="power")
    put_ticks(figure.layout.yaxis, scale, ordered[parts].to_numpy().min(), ordered[parts].to_numpy().max())
    return finish(figure, height=420, keyed=False)


def rank_heatmap(matrix: pd.DataFrame) -> go.Figure:
    """Draw Spearman's rank correlation between methods (index and columns are their labels), -1 to 1.

    Each number stands once, below the diagonal: a browser takes longer for the numbers than for all the rest.
    """
    labels = [text(label) for label in matrix.index]
    values = matrix.to_numpy(dtype=float)
    size = 13 if len(labels) <= 9 else 10
    figure = go.Figure(
        go.Heatmap(
            z=values,
            x=labels,
            y=labels,
            zmin=-1,
            zmax=1,
            colorscale=DIVERGING,
            xgap=2,
            ygap=2,
            text=[
                [f"{value:.2f}".replace("-", "−") if column <= line else "" for column, value in enumerate(row)]
                for line, row in enumerate(values)
            ],
            texttemplate="%{text}",
            textfont={"size": size},
            showscale=False,
            hovertemplate="%{y} and %{x}: ρ = %{z:.3f}<extra></extra>",
        )
    )
    figure.update_yaxes(autorange="reversed")
    figure.update_xaxes(tickangle=-40)
    longest = max((len(str(label)) for label in matrix.index), default=0)
    room = {"l": 24 + 7 * longest, "b": 24 + 5 * longest} if longest <= 40 else None
    finish(figure, height=150 + 36 * max(len(labels), 5), keyed=False, room=room)
    return figure.update_xaxes(showgrid=False).update_yaxes(showgrid=False)


def overlap(frame: pd.DataFrame, styles: Mapping[str, LineStyle], *, total: int, k: int | None = None) -> go.Figure:
    """Draw overlap@k (0 to 1) over k from columns method, k, overlap; chance is k / `total` samples."""
    figure = go.Figure()
    for label, part in frame.groupby("method", sort=False):
        figure.add_scatter(
            x=part["k"], y=100 * part["overlap"], name=text(label), **_named(styles[str(label)]),
            hovertemplate="top %{x:,}: %{y:.1f}%<extra>" + text(label) + "</extra>",
        )  # fmt: skip
    ks = np.unique(frame["k"])
    figure.add_scatter(x=ks, y=100 * ks / total, mode="lines", line=CHANCE, name="chance", hoverinfo="skip")
    if k is not None:
        figure.add_vline(x=k, line={"color": NEUTRAL, "width": 1})
        figure.add_annotation(  # words on a log axis stand at the power of ten, lines at the number
            x=math.log10(k), y=1, yref="paper", xanchor="left", yanchor="top", showarrow=False, text=f"k = {k:,}"
        )  # fmt: skip
    figure.update_xaxes(title_text="k (most suspicious samples of each method)", type="log", dtick=1)
    figure.update_yaxes(title_text="Shared among the top k (%)", range=[0, 101])
    return finish(figure, height=430, room=beside_legend(frame["method"].unique()))
