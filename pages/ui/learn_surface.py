"""Learn page: charts of a loss landscape. Tables in, figures out; one colour axis for all panels of a figure."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.figures import finish, text

LOSSES = {"validation_loss": "Clean validation set", "training_loss": "Noisy training set"}
MARKS = ("circle", "square", "diamond")


def colour_range(frame: pd.DataFrame) -> tuple[float, float]:
    """Return the ends of the one colour scale, in log10 of the loss: 1 % and 97 % of all losses of all panels."""
    values = frame[list(LOSSES)].to_numpy().ravel()
    values = np.log10(np.maximum(values[np.isfinite(values)], 1e-6))
    low, high = np.quantile(values, [0.01, 0.97])
    return float(low), float(max(high, low + 1e-3))


def surface_chart(
    panels: list[tuple[str, pd.DataFrame, str]], spread: tuple[float, float], *, solid: bool, axes: tuple[str, str],
    points: pd.DataFrame | None = None, titles: dict[str, str] | None = None,
) -> go.Figure:  # fmt: skip
    """Return panels side by side, one colour axis for all: (title, rows with x, y and losses, which loss)."""
    kind = {"type": "scene"} if solid else {"type": "xy"}
    figure = make_subplots(
        rows=1, cols=len(panels), specs=[[kind] * len(panels)], subplot_titles=[text(title) for title, _, _ in panels],
        horizontal_spacing=0.07,
    )  # fmt: skip
    for column, (title, rows, loss) in enumerate(panels, start=1):
        grid = rows.pivot_table(index="y", columns="x", values=loss, dropna=False)
        raw = grid.to_numpy()
        z = np.clip(np.log10(np.maximum(raw, 1e-6)), *spread)
        place = {"row": 1, "col": column}
        hover = "loss %{customdata:.4g}<extra>" + text(title) + "</extra>"
        if solid:
            figure.add_surface(
                x=grid.columns, y=grid.index, z=z, coloraxis="coloraxis", customdata=raw, hovertemplate=hover, **place
            )
        else:
            step = (spread[1] - spread[0]) / 16
            figure.add_contour(
                x=grid.columns, y=grid.index, z=z, coloraxis="coloraxis", customdata=raw, hovertemplate=hover,
                contours={"start": spread[0], "end": spread[1], "size": step}, line={"width": 0.6}, **place,
            )  # fmt: skip
        if points is not None and titles is not None:
            _mark(figure, points, titles, loss, spread, solid=solid, column=column)
    ticks = [t for t in range(-6, 7) if spread[0] <= t <= spread[1]]
    more = [round(float(v), 2) for v in np.linspace(*spread, 5)]
    shown = ticks if len(ticks) >= 3 else more
    figure.update_layout(
        coloraxis={
            "colorscale": "Viridis", "cmin": spread[0], "cmax": spread[1],
            "colorbar": {"title": {"text": "loss"}, "tickvals": shown, "ticktext": [f"{10.0**t:.3g}" for t in shown],
                         "thickness": 14},
        }
    )  # fmt: skip
    if solid:
        low, high = spread
        away = 1.35 if len(panels) > 2 else 1.0
        figure.update_scenes(
            xaxis_title_text=axes[0], yaxis_title_text=axes[1], zaxis_title_text="log10 loss",
            zaxis_range=[low, high + 0.1 * (high - low)],
            camera={"eye": {"x": 1.9 * away, "y": -2.1 * away, "z": 1.2 * away}},
            aspectmode="cube",
        )  # fmt: skip
    else:
        figure.update_xaxes(title_text=axes[0])
        figure.update_yaxes(title_text=axes[1], col=1)
    legend = {"orientation": "h", "y": -0.3, "yanchor": "top"}
    return finish(figure, height=500 if solid else 460, keyed=points is not None, legend=legend)


def _mark(
    figure: go.Figure, points: pd.DataFrame, titles: dict[str, str], loss: str, spread: tuple[float, float], *,
    solid: bool, column: int,
) -> None:  # fmt: skip
    for symbol, (name, title), at in zip(MARKS, titles.items(), points.to_dict("records"), strict=False):
        look: dict[str, Any] = {
            "mode": "markers", "name": text(title), "legendgroup": name, "showlegend": column == 1,
            "hovertemplate": f"loss {at[loss]:.4g}<extra>{text(title)}</extra>",
        }  # fmt: skip
        marker = {"symbol": symbol, "color": "white", "line": {"color": "black", "width": 2}}
        if solid:
            z = float(np.clip(np.log10(max(at[loss], 1e-6)), *spread)) + 0.05 * (spread[1] - spread[0])
            figure.add_scatter3d(
                x=[at["x"]], y=[at["y"]], z=[z], marker={**marker, "size": 6}, row=1, col=column, **look
            )
        else:
            figure.add_scatter(x=[at["x"]], y=[at["y"]], marker={**marker, "size": 13}, row=1, col=column, **look)
