"""The charts of the report as plain plotly figures: data and layout. Okabe-Ito colours, on light and dark."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvm_core.influence.metrics import Curves
from fvm_core.report.words import label

COLOURS = ("#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#767676")
GRID = {"gridcolor": "rgba(128,128,128,.25)", "zeroline": False, "automargin": True}
Figure = tuple[list[dict[str, Any]], dict[str, Any]]


def distribution(score: NDArray[np.float64], groups: Mapping[str, NDArray[np.bool_]], *, title: str) -> Figure:
    """Return overlaid histograms of a score (50 bins over all), one a group; on a log scale where all are positive and
    spread over more than two decades."""
    fine = np.isfinite(score)
    logarithmic = bool(fine.any() and score[fine].min() > 0 and score[fine].max() > 100 * score[fine].min())
    x = np.log10(score, where=fine & (score > 0), out=np.full(len(score), np.nan)) if logarithmic else score
    edges = np.histogram_bin_edges(x[np.isfinite(x)], bins=50) if np.isfinite(x).any() else np.linspace(0, 1, 51)
    data = []
    for colour, (name, rows) in zip(COLOURS, groups.items(), strict=False):
        counts, _ = np.histogram(x[rows & np.isfinite(x)], edges)
        data.append({
            "type": "bar", "name": label(f"{name} ({int(rows.sum()):,})"), "y": counts.tolist(), "opacity": 0.6,
            "x": ((edges[1:] + edges[:-1]) / 2).tolist(), "marker": {"color": colour}, "hoverinfo": "y+name",
        })  # fmt: skip
    axis = f"log10 of {label(title)}" if logarithmic else label(title)
    return data, {
        "barmode": "overlay", "bargap": 0, "legend": {"orientation": "h", "y": 1.12},
        "xaxis": {**GRID, "title": {"text": axis}}, "yaxis": {**GRID, "title": {"text": "images"}},
    }  # fmt: skip


def detection(found: Mapping[str, Curves], prevalence: float) -> Figure:
    """Return ROC (left) and precision-recall (right) of each score, and chance."""
    data: list[dict[str, Any]] = []
    for number, (name, curve) in enumerate(found.items()):
        shared = {
            "type": "scatter", "mode": "lines", "name": label(name), "legendgroup": str(number),
            "line": {"color": COLOURS[number % len(COLOURS)], "dash": ("solid", "dash", "dot")[number // 7 % 3]},
        }  # fmt: skip
        data.append({**shared, "x": curve.fpr.tolist(), "y": curve.tpr.tolist()})
        data.append({
            **shared, "x": curve.recall.tolist(), "y": curve.precision.tolist(), "xaxis": "x2", "yaxis": "y2",
            "showlegend": False,
        })  # fmt: skip
    chance = {"type": "scatter", "mode": "lines", "line": {"color": "#767676", "width": 1, "dash": "dot"}}
    data.append({**chance, "x": [0, 1], "y": [0, 1], "name": "chance"})
    data.append({**chance, "x": [0, 1], "y": [prevalence] * 2, "xaxis": "x2", "yaxis": "y2", "showlegend": False})
    names = ("False positive rate", "True positive rate", "Recall", "Precision")
    axes = [{**GRID, "range": [0, 1.01], "title": {"text": name}} for name in names]
    return data, {
        "xaxis": {**axes[0], "domain": [0, 0.45]}, "yaxis": axes[1], "legend": {"orientation": "h", "y": -0.22},
        "xaxis2": {**axes[2], "domain": [0.55, 1], "anchor": "y2"}, "yaxis2": {**axes[3], "anchor": "x2"},
        "height": 560,
    }  # fmt: skip


def transition(matrix: NDArray[np.float64], names: Sequence[str]) -> Figure:
    """Return the heat map of P(given label | class), rows the classes; numbers stand in it up to 12 classes."""
    labels = [f"{code}: {label(name, limit=24)}" for code, name in enumerate(names)]
    shown = {"text": [[f"{100 * value:.0f}" for value in row] for row in matrix], "texttemplate": "%{text}"}
    data = [{
        "type": "heatmap", "z": matrix.tolist(), "x": labels, "y": labels, "zmin": 0, "zmax": 1, "xgap": 1, "ygap": 1,
        "colorscale": [[0, "#F2F0EA"], [1, "#0072B2"]], "hovertemplate": "%{y} given as %{x}: %{z:.1%}<extra></extra>",
        **(shown if len(labels) <= 12 else {}),
    }]  # fmt: skip
    titles = ("given label", "class")
    return data, {
        "xaxis": {"title": {"text": titles[0]}, "automargin": True, "type": "category"},
        "yaxis": {"title": {"text": titles[1]}, "automargin": True, "autorange": "reversed", "type": "category"},
        "height": 160 + 26 * max(10, min(len(labels), 40)),
    }  # fmt: skip


def curve(steps: Sequence[float], values: Mapping[str, Sequence[float]]) -> Figure:
    """Return lines over the steps of a tuning."""
    data = [
        {"type": "scatter", "mode": "lines", "name": label(name), "x": list(steps), "y": list(line),
         "line": {"color": colour}, "connectgaps": True}
        for colour, (name, line) in zip(COLOURS, values.items(), strict=False)
    ]  # fmt: skip
    return data, {
        "xaxis": {**GRID, "title": {"text": "step"}}, "yaxis": {**GRID, "title": {"text": "loss"}},
        "legend": {"orientation": "h", "y": 1.12},
    }  # fmt: skip
