"""How scores are spread: one histogram or violin a method, clean and mislabeled apart. Pure, like `figures`."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import plotly.graph_objects as go
from numpy.typing import NDArray

from pages.ui.distribution import Distribution, smooth
from pages.ui.figures import GROUP_COLOURS, faded, text
from pages.ui.multiples import WIDE_LETTER, WIDTH, Multiples, broken, fold, second_line
from pages.ui.scales import round_numbers
from pages.ui.theme import NEUTRAL

LEGEND = {"orientation": "h", "x": 0, "y": 1, "yanchor": "bottom", "xanchor": "left", "font": {"size": 13}}
SIDES = {"clean": (-1.0,), "mislabeled": (1.0,)}


@dataclass
class _Group:
    """One group of samples in all charts: each of its traces is one for all of them."""

    areas: list[NDArray[np.float64]] = field(default_factory=list)
    hover: list[str] = field(default_factory=list)
    bars: list[NDArray[np.float64]] = field(default_factory=list)
    points: list[NDArray[np.float64]] = field(default_factory=list)


def histograms(
    panels: Sequence[Distribution | None], *, columns: int = 3, same_height: bool = False, width: int = WIDTH
) -> go.Figure:
    """Draw one histogram a method, groups over each other; heights are shares of the group in %. `width` is about how
    many pixels there are for all columns."""
    titles, axes = _words(panels, width / columns)
    many = Multiples(
        len(panels), columns, height=150, left=_left(columns), width=width, above=30 + second_line(titles),
        below=48 + second_line(axes),
    )  # fmt: skip
    tallest = max((_tallest(panel) for panel in panels if panel), default=1.0)
    groups: dict[str, _Group] = {}
    for number, panel in enumerate(panels):
        if panel is None:
            continue
        top = 1.05 * (tallest if same_height else _tallest(panel)) or 1.0
        left, right = panel.scale.inverse(panel.edges[:-1]), panel.scale.inverse(panel.edges[1:])
        bins = [f"{a:.3g} to {b:.3g}" for a, b in zip(left, right, strict=True)]
        x = _shares(panel, np.repeat(panel.edges, 2))
        for group, share in panel.shares.items():
            own = groups.setdefault(group, _Group())
            own.areas.append(np.c_[many.across(number, x), many.up(number, np.r_[0, np.repeat(share, 2), 0] / top)])
            hover = [f"{a}: {b:.2f}%" for a, b in zip(bins, share, strict=True)]
            own.hover += [hover[0], *np.repeat(hover, 2).tolist(), hover[-1], ""]
            middle = _shares(panel, panel.scale.forward(panel.quartiles[group][1]))
            own.bars.append(np.c_[many.across(number, [middle] * 2), many.up(number, [0, 1])])
        many.title(number, titles[number])
        many.caption(number, axes[number])
        many.ticks_across(number, *_marks(panel, most=3 if width / columns < 240 else 5))
        heights, words = round_numbers(0.0, top, 4)
        many.ticks_up(number, [height / top for height in heights], words)
    traces = []
    for group, own in groups.items():
        look = _look(group) | {"hovertemplate": "%{customdata}<extra>" + text(group) + "</extra>"}
        traces.append(_line(own.areas, customdata=own.hover, fill="toself", hoveron="points", **look))
    for group, own in groups.items():
        traces.append(_line(own.bars, dash="4px,3px", width=1.2, hoverinfo="skip", **_look(group, named=False)))
    return many.figure(traces, legend=LEGEND, yaxis={"title": {"text": "Share of group (%)"}})


def violins(panels: Sequence[Distribution | None], *, columns: int = 4, width: int = WIDTH) -> go.Figure:
    """Draw one violin a method: clean to the left, mislabeled to the right, bars from quartile to quartile."""
    titles, axes = _words(panels, width / columns)
    above = 50 + second_line(titles) + second_line(axes)
    many = Multiples(len(panels), columns, height=240, above=above, below=14, left=_left(columns) + 0.04, width=width)
    groups: dict[str, _Group] = {}
    for number, panel in enumerate(panels):
        if panel is None:
            continue
        outlines = {group: smooth(share) for group, share in panel.shares.items()}
        widest = max((float(outline.max()) for outline in outlines.values()), default=1.0)
        y = _shares(panel, np.r_[panel.centres[0], panel.centres, panel.centres[-1]])
        for group, outline in outlines.items():
            own = groups.setdefault(group, _Group())
            quartiles = panel.quartiles[group]
            first, middle, last = (_shares(panel, panel.scale.forward(value)) for value in quartiles)
            for side in SIDES.get(group, (-1.0, 1.0)):
                x = 0.5 + side * np.r_[0, outline / widest, 0] / 2.3
                own.areas.append(np.c_[many.across(number, x), many.up(number, y)])
                at = many.across(number, [0.5 + side * 0.03] * 2)
                own.bars.append(np.c_[at, many.up(number, [first, last])])
                own.points.append(np.r_[at[0], many.up(number, middle)])
                own.hover.append(
                    f"median {quartiles[1]:.3g}<br>quartiles {quartiles[0]:.3g} to {quartiles[2]:.3g}"
                    f"<br>{panel.counts[group]:,} samples"
                )
        many.title(number, f"{titles[number]}<br><span style='font-weight:400'>{axes[number]}</span>")
        many.ticks_up(number, *_marks(panel, most=5))
    traces = []
    for group, own in groups.items():
        traces.append(_line(own.areas, fill="toself", width=1.4, hoverinfo="skip", **_look(group)))
    for group, own in groups.items():
        still = _look(group, named=False)
        traces.append(_line(own.bars, width=5, hoverinfo="skip", **still))
        x, y = np.array(own.points).T
        traces.append(
            go.Scatter(
                x=x, y=y, mode="markers", customdata=own.hover, legendgroup=group, showlegend=False,
                marker={"color": "white", "size": 8, "line": {"color": still["colour"], "width": 2}},
                hovertemplate="%{customdata}<extra>" + text(group) + "</extra>",
            )
        )  # fmt: skip
    return many.figure(traces, legend=LEGEND)


def _line(
    parts: list[NDArray[np.float64]], *, colour: str, width: float = 1.6, dash: str = "solid",
    **rest: Any,
) -> go.Scatter:  # fmt: skip
    x, y = broken(parts)
    line = {"color": colour, "width": width, "dash": dash}
    fill = {"fillcolor": faded(colour, 0.28)} if "fill" in rest else {}
    return go.Scatter(x=x, y=y, mode="lines", line=line, **fill, **rest)


def _look(group: str, *, named: bool = True) -> dict[str, Any]:
    colour = GROUP_COLOURS.get(group, NEUTRAL)
    return {"colour": colour, "name": group, "legendgroup": group, "showlegend": named}


def _words(panels: Sequence[Distribution | None], pixels: float) -> tuple[list[str], list[str]]:
    """Return title and axis of each chart, folded to its width."""
    titles = [fold(panel.title, pixels=pixels, letter=WIDE_LETTER) if panel else "" for panel in panels]
    return titles, [fold(panel.axis, pixels=pixels) if panel else "" for panel in panels]


def _left(columns: int) -> float:
    """Return the share of a column that numbers beside a chart need."""
    return min(0.08 + 0.032 * columns, 0.42)


def _tallest(panel: Distribution) -> float:
    return max((float(share.max()) for share in panel.shares.values()), default=1.0)


def _shares(panel: Distribution, positions: NDArray[np.float64] | float) -> NDArray[np.float64]:
    """Return where positions on the panel's scale lie between its edges, 0 to 1; those beyond at the edge, since the
    next chart begins there."""
    low, high = panel.edges[0], panel.edges[-1]
    return np.clip((np.asarray(positions) - low) / (high - low), 0.0, 1.0)


def _marks(panel: Distribution, *, most: int) -> tuple[list[float], list[str]]:
    positions, words = panel.scale.marks(panel.edges[0], panel.edges[-1], most=most)
    return list(_shares(panel, np.array(positions, dtype=float))), words
