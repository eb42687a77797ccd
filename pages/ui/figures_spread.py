"""How scores are spread: one histogram or violin a method, clean and mislabeled apart. Pure, like `figures`."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.distribution import Distribution, smooth
from pages.ui.figures import GROUP_COLOURS, ROOM, faded, finish, put_ticks, text
from pages.ui.theme import NEUTRAL


def _grid(panels: Sequence[Distribution | None], columns: int, *, room: float, gap: float) -> go.Figure:
    """Return empty charts in rows of `columns`; None leaves a place empty.

    `room` is kept free between rows for titles, `gap` between columns (shares of the figure, divided among them).
    """
    rows = -(-len(panels) // columns)
    titles = [f"<b>{text(panel.title)}</b>" if panel else "" for panel in panels]
    return make_subplots(
        rows=rows, cols=columns, subplot_titles=titles, vertical_spacing=room / rows if rows > 1 else 0,
        horizontal_spacing=gap / columns,
    )  # fmt: skip


def histograms(panels: Sequence[Distribution | None], *, columns: int = 3, same_height: bool = False) -> go.Figure:
    """Draw one histogram a method, groups over each other; heights are shares of the group in %."""
    figure = _grid(panels, columns, room=0.4, gap=0.22)
    tallest = max((float(share.max()) for panel in panels if panel for share in panel.shares.values()), default=1.0)
    named: set[str] = set()
    for number, panel in enumerate(panels):
        if panel is None:
            continue
        place = {"row": number // columns + 1, "col": number % columns + 1}
        left, right = panel.scale.inverse(panel.edges[:-1]), panel.scale.inverse(panel.edges[1:])
        hover = [f"{a:.3g} to {b:.3g}" for a, b in zip(left, right, strict=True)]
        for group, share in panel.shares.items():
            colour = GROUP_COLOURS.get(group, NEUTRAL)
            figure.add_scatter(
                x=panel.centres, y=share, customdata=hover, name=group, legendgroup=group, mode="lines",
                line={"shape": "hvh", "color": colour, "width": 1.6}, fill="tozeroy", fillcolor=faded(colour, 0.28),
                showlegend=group not in named, **place,
                hovertemplate="%{customdata}: %{y:.2f}%<extra>" + text(group) + "</extra>",
            )  # fmt: skip
            named.add(group)
            middle = float(panel.scale.forward(panel.quartiles[group][1]))
            figure.add_vline(x=middle, line={"color": colour, "width": 1.2, "dash": "dash"}, **place)
        figure.update_xaxes(title_text=text(panel.axis), range=[panel.edges[0], panel.edges[-1]], tickangle=0, **place)
        low, high = panel.edges[0], panel.edges[-1]
        put_ticks(next(figure.select_xaxes(**place)), panel.scale, low, high, most=3 if columns > 3 else 5)
        figure.update_yaxes(
            title_text="Share of group (%)" if place["col"] == 1 else None,
            range=[0, tallest * 1.05] if same_height else None, rangemode="tozero", nticks=4 if columns > 3 else None,
            **place,
        )  # fmt: skip
    rows = -(-len(panels) // columns)
    legend = {"orientation": "h", "x": 0, "y": 1 + 0.16 / rows, "yanchor": "bottom", "xanchor": "left"}
    return finish(figure, height=110 + 250 * rows, legend=legend, room=ROOM)


def violins(panels: Sequence[Distribution | None], *, columns: int = 4) -> go.Figure:
    """Draw one violin a method: clean to the left, mislabeled to the right, bars from quartile to quartile."""
    figure = _grid(panels, columns, room=0.16, gap=0.38)
    named: set[str] = set()
    for number, panel in enumerate(panels):
        if panel is None:
            continue
        place = {"row": number // columns + 1, "col": number % columns + 1}
        outlines = {group: smooth(share) for group, share in panel.shares.items()}
        widest = max((float(outline.max()) for outline in outlines.values()), default=1.0)
        sides = {"clean": (-1.0,), "mislabeled": (1.0,)}
        for group, outline in outlines.items():
            colour = GROUP_COLOURS.get(group, NEUTRAL)
            reach = outline / widest
            for side in sides.get(group, (-1.0, 1.0)):
                figure.add_scatter(
                    x=np.r_[0, side * reach, 0], y=np.r_[panel.centres[0], panel.centres, panel.centres[-1]],
                    mode="lines", line={"color": colour, "width": 1.4}, fill="toself", fillcolor=faded(colour, 0.3),
                    name=group, legendgroup=group, showlegend=group not in named, hoverinfo="skip", **place,
                )  # fmt: skip
                named.add(group)
                low, middle, high = (float(panel.scale.forward(value)) for value in panel.quartiles[group])
                at = side * 0.06
                figure.add_scatter(
                    x=[at, at], y=[low, high], mode="lines", line={"color": colour, "width": 5},
                    legendgroup=group, showlegend=False, hoverinfo="skip", **place,
                )  # fmt: skip
                figure.add_scatter(
                    x=[at], y=[middle], mode="markers", customdata=[[*panel.quartiles[group], panel.counts[group]]],
                    marker={"color": "white", "size": 8, "line": {"color": colour, "width": 2}},
                    legendgroup=group, showlegend=False, cliponaxis=False, **place,
                    hovertemplate="median %{customdata[1]:.3g}<br>quartiles %{customdata[0]:.3g} to "
                    "%{customdata[2]:.3g}<br>%{customdata[3]:,} samples<extra>" + text(group) + "</extra>",
                )  # fmt: skip
        figure.update_xaxes(visible=False, range=[-1.15, 1.15], **place)
        figure.update_yaxes(title_text=text(panel.axis), range=[panel.edges[0], panel.edges[-1]], **place)
        put_ticks(next(figure.select_yaxes(**place)), panel.scale, panel.edges[0], panel.edges[-1])
    rows = -(-len(panels) // columns)
    legend = {"orientation": "h", "x": 0, "y": 1 + 0.12 / rows, "yanchor": "bottom", "xanchor": "left"}
    return finish(figure, height=110 + 310 * rows, legend=legend, room=ROOM)
