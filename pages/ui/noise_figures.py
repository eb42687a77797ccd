"""Charts of the Label noise page. Pure: tables in, `go.Figure` out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from fvm_core.visible import visible
from pages.ui.figures import faded, finish, text
from pages.ui.theme import MISLABELED

WRITTEN = 12
"""Classes up to which every cell carries its number."""
NAMED, LETTERS = 20, 16
"""How many classes are named at an axis, of more every second or third one, and the length of a name there."""
SHADES = [[0.0, faded(MISLABELED, 0.02)], [1.0, faded(MISLABELED, 0.6)]]
"""The page's ink is legible on the deepest shade, in light and dark."""


def transition_map(matrix: NDArray[np.float64], names: Sequence[str], *, top: float, rows: str = "Class") -> go.Figure:
    """Draw (c, c) shares in percent: rows the class, columns the given label. The diagonal (right labels) is written,
    not coloured, so that the confusions can be told apart; `top` is the share with the deepest colour, `rows` says what
    makes the class of a row."""
    shares = 100 * matrix
    off = shares.copy()
    np.fill_diagonal(off, np.nan)
    labels = [text(name) for name in names]
    written = len(names) <= WRITTEN
    figure = go.Figure(
        go.Heatmap(
            z=off, x=labels, y=labels, zmin=0, zmax=max(100 * top, 1e-9), colorscale=SHADES, xgap=1, ygap=1,
            customdata=shares, showscale=not written, colorbar={"title": {"text": "%"}, "thickness": 12},
            hovertemplate=rows + ": %{y}<br>Given label: %{x}<br>%{customdata:.1f} % of the row<extra></extra>",
            hoverongaps=True,
        )
    )  # fmt: skip
    if written:
        for row, column in np.ndindex(shares.shape):
            value = shares[row, column]
            if value >= 0.5:
                figure.add_annotation(
                    x=labels[column], y=labels[row], text=f"{value:.0f}", showarrow=False, font={"size": 12},
                    opacity=0.8 if row == column else 1,
                )  # fmt: skip
    shown = slice(None, None, -(-len(names) // NAMED))
    axis = {
        "type": "category", "tickvals": labels[shown], "showgrid": False,
        "ticktext": [text(visible(name, limit=LETTERS)) for name in names[shown]],
    }  # fmt: skip
    figure.update_xaxes(title_text="Given label", autotickangles=[0, -40, -90], **axis)
    figure.update_yaxes(title_text=rows, autorange="reversed", **axis)
    return finish(figure, height=430 if written else 560, keyed=False)


def long_table(matrix: NDArray[np.float64], counts: NDArray[np.float64], names: Sequence[str]) -> pd.DataFrame:
    """Return the matrix as rows of class, given, share and count, for a file."""
    true, given = (axis.ravel().tolist() for axis in np.indices(matrix.shape))
    return pd.DataFrame(
        {
            "class": [names[k] for k in true], "given": [names[k] for k in given], "share": matrix.ravel(),
            "count": counts.ravel(),
        }
    )  # fmt: skip
