"""Learn page: one step of SAM in pieces, and the paths of all solvers from one start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.learn.toy_steps import SOLVERS, Step, ToySettings, points_of, toy_path
from fvm_core.learn.toy_surface import FLAT, SHARP, START, ToySurface, two_basins
from fvm_core.tuning.solvers import SOLVER_INFO
from pages.ui import learn_questions, take_away
from pages.ui.errors import shown
from pages.ui.figures import finish
from pages.ui.theme import CLEAN, FVM, MISLABELED, NEUTRAL, VM

COLOURS = {"sgd": VM, "sam": FVM, "asam": CLEAN, "fsam": "#CC79A7", "lpf": MISLABELED}
STEPS = 60
PIECES = ("where it stands", "the gradient", "ascent to w + e", "the gradient there", "the step, from w")
FORMULAS = {
    "sgd": r"w \leftarrow w - \eta\, g(w)",
    "sam": r"e = \rho\,\frac{g}{\lVert g\rVert},\qquad w \leftarrow w - \eta\, g(w+e)\quad\text{(Eq. 14 to 16)}",
    "asam": r"e = \rho\,\frac{T^2 g}{\lVert T g\rVert},\quad T=|w|+\eta_T,\qquad w \leftarrow w - \eta\, g(w+e)",
    "fsam": r"e = \rho\,\frac{d}{\lVert d\rVert},\quad d=g-\sigma m,\quad m\leftarrow\lambda m+(1-\lambda)g",
    "lpf": r"w \leftarrow w - \frac{\eta}{M}\sum_{i=1}^M g(w+e_i),\qquad e_i\sim\mathcal N(0,(\gamma\lVert w\rVert)^2)",
}


@st.fragment
def draw() -> None:
    """Draw the part."""
    surface = two_basins()
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        radius = st.slider("Radius ρ", 0.0, 1.0, 0.4, 0.05, key="sam_radius", help="Of SAM, ASAM and F-SAM")
        gamma = st.slider("LPF's noise γ", 0.0, 0.4, 0.15, 0.05, key="sam_gamma")
        sigma = st.slider("F-SAM's σ", 0.0, 1.0, 1.0, 0.1, key="sam_sigma")
        noise = st.slider("Noise of the batches", 0.0, 0.4, 0.2, 0.05, key="sam_noise")
        seed = int(st.number_input("Seed", 0, 9999, 0, key="sam_seed", help="Decides all noise"))
        settings = ToySettings(radius=radius, gamma=gamma, sigma=sigma, noise=noise, seed=seed)
        paths = {name: toy_path(surface, name, np.array(START), settings, steps=STEPS) for name in SOLVERS}
    with right, shown(stop=False):
        st.markdown("##### The paths: play, pause, or drag the step")
        take_away.draw(
            paths_chart(surface, paths),
            name="solver-paths",
            data=table(paths),
            alt="Paths of five solvers on a surface",
        )
        st.caption(" · ".join(_ends(surface, paths)))
    st.markdown("##### One step in pieces")
    solver = st.segmented_control(
        "Solver", SOLVERS, default="sam", required=True, key="sam_solver",
        format_func=lambda name: SOLVER_INFO[name].title,
    ) or "sam"  # fmt: skip
    one, two = st.columns([1, 2.6], gap="medium")
    with one:
        number = int(st.number_input("Step of the path", 1, STEPS, 1, key="sam_step"))
        st.session_state.setdefault("sam_piece", 0)
        with st.container(horizontal=True):
            st.button("Back", key="sam_back", icon=":material/chevron_left:", on_click=_turn, args=(-1,))
            st.button(
                "Next", key="sam_next", icon=":material/chevron_right:", on_click=_turn, args=(1,), type="primary"
            )
        piece = int(st.session_state["sam_piece"])
        st.markdown(f"**{piece + 1} of {len(PIECES)}: {PIECES[piece]}**")
        st.caption(SOLVER_INFO[solver].sentence)
    with two:
        st.latex(FORMULAS[solver])
        step = paths[solver][number - 1]
        take_away.draw(
            step_chart(surface, step, piece, COLOURS[solver]), name="one-step", data=step_table(step),
            alt=f"Step {number} of {SOLVER_INFO[solver].title}: {PIECES[piece]}",
        )  # fmt: skip
    learn_questions.draw("sam")


def _turn(by: int) -> None:
    st.session_state["sam_piece"] = (st.session_state.get("sam_piece", 0) + by) % len(PIECES)


def _ends(surface: ToySurface, paths: Mapping[str, list[Step]]) -> list[str]:
    out = []
    for name, path in paths.items():
        end = points_of(path)[-10:].mean(0)
        place = next(
            (word for word, c in (("sharp", SHARP), ("flat", FLAT)) if np.linalg.norm(end - c) < 0.5), "between"
        )
        out.append(f"{SOLVER_INFO[name].title}: {place} (curvature {surface.sharpness(end):.1f})")
    return out


def table(paths: Mapping[str, list[Step]]) -> pd.DataFrame:
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


def _ground(surface: ToySurface) -> go.Contour:
    x, y = np.linspace(-0.8, 5, 90), np.linspace(-0.4, 4.6, 80)
    z = surface.value(np.stack(np.meshgrid(x, y), -1))
    return go.Contour(
        x=x, y=y, z=z, ncontours=26, contours={"coloring": "lines"}, line={"width": 1.2}, colorscale="Blues_r",
        colorbar={"title": {"text": "loss"}, "thickness": 12}, hovertemplate="loss %{z:.3f}<extra></extra>",
    )  # fmt: skip


def _finished(figure: go.Figure, *, height: int) -> go.Figure:
    finish(figure, height=height, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
    figure.update_xaxes(title_text="weight 1", range=[-0.6, 4.8])
    return figure.update_yaxes(title_text="weight 2", range=[0.0, 4.4])


def paths_chart(surface: ToySurface, paths: Mapping[str, list[Step]]) -> go.Figure:
    """Return the contour with one line a solver and a frame a step, with Play, Pause and a slider."""
    points = {name: points_of(path) for name, path in paths.items()}

    def lines(upto: int) -> list[go.Scatter]:
        return [
            go.Scatter(
                x=at[: upto + 1, 0],
                y=at[: upto + 1, 1],
                mode="lines+markers",
                name=SOLVER_INFO[name].title,
                line={"color": COLOURS[name], "width": 2},
                marker={"size": [4] * upto + [11], "color": COLOURS[name]},
            )
            for name, at in points.items()
        ]

    last = len(next(iter(points.values()))) - 1
    names = [str(step) for step in range(last + 1)]
    figure = go.Figure([_ground(surface), *lines(last)])
    ids = list(range(1, len(points) + 1))
    figure.frames = [go.Frame(data=lines(int(name)), name=name, traces=ids) for name in names]
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


def step_chart(surface: ToySurface, step: Step, piece: int, colour: str) -> go.Figure:
    """Return the contour with the first `piece` + 1 pieces of one step drawn."""
    figure = go.Figure(_ground(surface))

    def arrow(start: np.ndarray, end: np.ndarray, name: str, ink: str, dash: str = "solid") -> None:
        figure.add_scatter(
            x=[start[0], end[0]], y=[start[1], end[1]], mode="lines+markers", name=name,
            line={"color": ink, "width": 3, "dash": dash},
            marker={"size": [0, 11], "symbol": "arrow", "angleref": "previous"},
        )  # fmt: skip

    if piece >= 1:
        arrow(step.start, step.start + 0.5 * step.gradient, "gradient at w (half its length)", NEUTRAL)
    if piece >= 2:
        for number, probe in enumerate(step.probes):
            arrow(step.start, probe, "e" if len(step.probes) == 1 else f"e {number + 1}", MISLABELED, "dot")
    if piece >= 3:
        for probe, gradient in zip(step.probes, step.gradients_there, strict=True):
            arrow(probe, probe + 0.5 * gradient, "gradient at w + e (half)", CLEAN)
    if piece >= 4:
        arrow(step.start, step.end, "the step", colour)
    figure.add_scatter(
        x=[step.start[0]], y=[step.start[1]], mode="markers", name="w", marker={"size": 13, "color": colour}
    )
    return _finished(figure, height=470)
