"""The two charts about how far to review: what was confirmed at which rank, and what each cut should bring."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from numpy.typing import NDArray

from fvm_core.review.yield_meter import Band
from pages.ui.figures import ROOM, finish
from pages.ui.theme import CLEAN, FVM, MISLABELED, NEUTRAL


def band_table(bands: Sequence[Band], chance: NDArray[np.float64] | None) -> pd.DataFrame:
    """Return the numbers behind `band_figure`; `chance` in order of rank. Rates in percent."""
    rows = [
        {
            "ranks": f"{band.first:,} to {band.last:,}",
            "judged": band.judged,
            "wrong": band.wrong,
            "confirmed": 100 * band.rate,
            "low": 100 * band.low,
            "high": 100 * band.high,
            "expected": np.nan if chance is None else 100 * float(chance[band.first - 1 : band.last].mean()),
        }
        for band in bands
    ]
    return pd.DataFrame(rows)


def band_figure(table: pd.DataFrame) -> go.Figure:
    """Draw confirmed rates with their Wilson intervals, and the expected rate of each band as a line."""
    figure = go.Figure()
    start = table["ranks"].str.split(" ").str[0]  # whole ranges do not fit below the bars
    seen = table[table["judged"] > 0]
    figure.add_bar(
        x=start[seen.index], y=seen["confirmed"], name="confirmed by the review", marker={"color": FVM},
        error_y={
            "type": "data", "symmetric": False, "array": seen["high"] - seen["confirmed"],
            "arrayminus": seen["confirmed"] - seen["low"], "color": NEUTRAL,
        },
        customdata=seen[["wrong", "judged", "ranks"]],
        hovertemplate="%{customdata[2]}: %{customdata[0]} of %{customdata[1]} wrong, %{y:.1f} %<extra></extra>",
    )  # fmt: skip
    if table["expected"].notna().any():
        figure.add_scatter(
            x=start, y=table["expected"], name="expected", mode="lines+markers", customdata=table["ranks"],
            line={"color": MISLABELED, "dash": "dot"},
            hovertemplate="%{customdata}: %{y:.1f} % expected<extra></extra>",
        )  # fmt: skip
    figure.update_yaxes(title="wrong labels, %", range=[0, 103])
    figure.update_xaxes(title="rank in the list, from", type="category", categoryorder="array", categoryarray=start)
    return finish(figure, height=300, room=ROOM)


def cut_figure(curve: pd.DataFrame, count: int | None) -> go.Figure:
    """Draw expected precision and recall over the number of images looked at; a line at the chosen `count`."""
    figure = go.Figure()
    for name, colour in (("precision", FVM), ("recall", CLEAN)):
        figure.add_scatter(
            x=curve["count"], y=100 * curve[name], name=f"expected {name}", line={"color": colour, "width": 2.6},
            hovertemplate=f"after %{{x:,}} images: {name} %{{y:.1f}} %<extra></extra>",
        )  # fmt: skip
    if count is not None:
        figure.add_vline(x=count, line={"color": NEUTRAL, "dash": "dash"})
    figure.update_xaxes(title="images looked at, the most suspicious first", type="log")
    figure.update_yaxes(title="%", range=[0, 103])
    return finish(figure, height=300, room=ROOM)
