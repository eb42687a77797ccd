"""Learn page: the charts of the solvers' steps on a toy surface, and their numbers as tables. Pure: paths in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
import plotly.graph_objects as go

from fvm_core.learn.toy_steps import Step, points_of
from fvm_core.learn.toy_surface import ToySurface
from fvm_core.tuning.solvers import SOLVER_INFO
from pages.ui.figures import finish
from pages.ui.theme import CLEAN, FVM, MISLABELED, NEUTRAL, VM

COLOURS = {"sgd": VM, "sam": FVM, "asam": CLEAN, "fsam": "#CC79A7", "lpf": MISLABELED}


def paths_table(paths: Mapping[str, list[Step]]) -> pd.DataFrame:
    """Return columns solver, step, x, y: where each path was."""
    frames = [
        pd.DataFrame(points_of(path), columns=["x", "y"]).rename_axis("step").reset_index().assign(solver=name)
        for name, path in paths.items()
    ]
    return pd.concat(frames, ignore_index=True)[["solver", "step", "x", "y"]]


def step_table(step: Step) -> pd.DataFrame:
    """Return columns what, x, y: every point and gradient of one step."""
    rows = [("w", *step.start), ("gradient at w", *step.gradient)]
    rows += [("w + e", *point) for point in step.probes]
    rows += [("gradient at w + e", *gradient) for gradient in step.gradients_there]
    return pd.DataFrame([*rows, ("gradient used", *step.used), ("w after", *step.end)], columns=["what", "x", "y"])


Range = tuple[float, float]
WHOLE: tuple[Range, Range] = ((-0.6, 4.8), (0.0, 4.4))


def _ground(surface: ToySurface, view: tuple[Range, Range] = WHOLE) -> go.Contour:
    x, y = (np.linspace(low - 0.2, high + 0.2, 85) for low, high in view)
    z = surface.value(np.stack(np.meshgrid(x, y), -1))
    return go.Contour(
        x=x, y=y, z=z, ncontours=26, contours={"coloring": "lines"}, line={"width": 1.2}, colorscale="Blues_r",
        colorbar={"title": {"text": "loss"}, "thickness": 12}, hovertemplate="loss %{z:.3f}<extra></extra>",
    )  # fmt: skip


def _finished(figure: go.Figure, *, height: int, view: tuple[Range, Range] = WHOLE) -> go.Figure:
    finish(figure, height=height, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text="weight 1", range=view[0])
    return figure.update_yaxes(title_text="weight 2", range=view[1])


def near(step: Step) -> tuple[Range, Range]:
    """Return the ranges of both axes around a step that hold all its pieces, whichever of them are drawn."""
    ends = [step.gradient, step.end - step.start, *step.offsets, *(step.offsets + step.gradients_there)]
    reach = 1.1 * max(0.25, *(float(np.linalg.norm(end)) for end in ends))
    (x, y), wide = step.start.tolist(), 1.6
    return (x - wide * reach, x + wide * reach), (y - reach, y + reach)


def paths_chart(surface: ToySurface, paths: Mapping[str, list[Step]]) -> go.Figure:
    """Return the contour with a line and a dot at its end for each solver, a frame a step, Play, Pause and a slider."""
    points = {name: points_of(path) for name, path in paths.items()}
    last = len(next(iter(points.values()))) - 1
    names = [str(step) for step in range(last + 1)]
    figure = go.Figure(_ground(surface))
    for name, at in points.items():
        look: dict[str, Any] = {"name": SOLVER_INFO[name].title, "legendgroup": name}
        figure.add_scatter(
            x=at[:, 0], y=at[:, 1], mode="lines+markers", line={"color": COLOURS[name], "width": 2},
            marker={"size": 4, "color": COLOURS[name]}, **look,
        )  # fmt: skip
        figure.add_scatter(
            x=at[-1:, 0], y=at[-1:, 1], mode="markers", marker={"size": 12, "color": COLOURS[name]}, showlegend=False,
            **look,
        )  # fmt: skip
    ids = list(range(1, 1 + 2 * len(points)))
    figure.frames = [
        {"name": names[upto], "traces": ids, "data": _frame(points.values(), upto)} for upto in range(last + 1)
    ]
    still = {"frame": {"duration": 0, "redraw": True}, "mode": "immediate", "transition": {"duration": 0}}
    moving = {"frame": {"duration": 150, "redraw": True}, "fromcurrent": True, "transition": {"duration": 0}}
    figure.update_layout(
        updatemenus=[
            {"type": "buttons", "direction": "left", "x": 0, "y": -0.2, "xanchor": "left", "yanchor": "top",
             "showactive": False, "buttons": [{"label": "Play", "method": "animate", "args": [None, moving]},
                         {"label": "Pause", "method": "animate", "args": [[None], still]}]}
        ],
        sliders=[
            {"active": last, "x": 0.32, "len": 0.68, "y": -0.16, "currentvalue": {"prefix": "step "},
             "steps": [{"label": name, "method": "animate", "args": [[name], still]} for name in names]}
        ],
    )  # fmt: skip
    _finished(figure, height=560)
    return figure.update_layout(margin={"l": 10, "r": 10, "t": 40, "b": 110})


def _frame(points: Any, upto: int) -> list[dict[str, Any]]:
    """Return the traces of one frame: what differs from the figure only, as the browser fills in the rest."""
    out = []
    for at in points:
        part = at[: upto + 1].round(4)
        out.append({"type": "scatter", "x": part[:, 0].tolist(), "y": part[:, 1].tolist()})
        out.append({"type": "scatter", "x": part[-1:, 0].tolist(), "y": part[-1:, 1].tolist()})
    return out


def step_chart(surface: ToySurface, path: Sequence[Step], number: int, piece: int, colour: str) -> go.Figure:
    """Return the contour near step `number` (from 1), the path up to it, and the step's first `piece` + 1 pieces."""
    step = path[number - 1]
    view = near(step)
    figure = go.Figure(_ground(surface, view))

    def arrow(start: np.ndarray, end: np.ndarray, name: str, ink: str, dash: str = "solid", keyed: bool = True) -> None:
        figure.add_scatter(
            x=[start[0], end[0]], y=[start[1], end[1]], mode="lines+markers", name=name, showlegend=keyed,
            line={"color": ink, "width": 3, "dash": dash},
            marker={"size": [0, 13], "symbol": "arrow", "angleref": "previous"},
        )  # fmt: skip

    if number > 1:
        before = np.array([item.start for item in path[:number]])
        figure.add_scatter(
            x=before[:, 0], y=before[:, 1], mode="lines+markers", name="the path so far", opacity=0.45,
            line={"color": colour, "width": 2}, marker={"size": 4},
        )  # fmt: skip
    ring = {"size": 15, "color": colour, "symbol": "circle-open", "line": {"width": 3}}
    figure.add_scatter(x=[step.start[0]], y=[step.start[1]], mode="markers", name="w", marker=ring)
    if piece >= 1:
        arrow(step.start, step.start + step.gradient, "gradient at w", NEUTRAL)
    if piece >= 2:
        for which, probe in enumerate(step.probes):
            arrow(step.start, probe, "e", MISLABELED, "dot", which == 0)
    if piece >= 3:
        for which, (probe, gradient) in enumerate(zip(step.probes, step.gradients_there, strict=True)):
            arrow(probe, probe + gradient, "gradient at w + e", CLEAN, keyed=which == 0)
    if piece >= 4:
        arrow(step.start, step.end, "the step", colour)
    return _finished(figure, height=490, view=view).update_layout(margin_t=62)  # a legend of two lines
