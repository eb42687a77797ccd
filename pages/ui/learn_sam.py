"""Learn page: one step of SAM in pieces, and the paths of all solvers from one start."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import plotly.graph_objects as go
import streamlit as st

from fvm_core.learn.toy_steps import SOLVERS, Step, ToySettings, points_of, toy_path
from fvm_core.learn.toy_surface import FLAT, SHARP, START, ToySurface, two_basins
from fvm_core.tuning.solvers import SOLVER_INFO
from pages.ui import learn_questions, take_away
from pages.ui.errors import shown
from pages.ui.learn_paths import COLOURS, paths_chart, paths_table, step_chart, step_table

STEPS = 60
PIECES = ("where it stands", "the gradient", "ascent to w + e", "the gradient there", "the step, from w")
PLAIN = ("where it stands", "the gradient", "the step")
FORMULAS = {
    "sgd": r"w \leftarrow w - \eta\, g(w)",
    "sam": r"e = \rho\,\frac{g(w)}{\lVert g(w)\rVert},\qquad w \leftarrow w - \eta\, g(w+e)",
    "asam": r"e = \rho\,\frac{T^2 g}{\lVert T g\rVert},\quad T=|w|+\eta_T,\qquad w \leftarrow w - \eta\, g(w+e)",
    "fsam": r"e = \rho\,\frac{d}{\lVert d\rVert},\quad d=g-\sigma m,\quad m\leftarrow\lambda m+(1-\lambda)g,"
    r"\qquad w \leftarrow w - \eta\, g(w+e)",
    "lpf": r"w \leftarrow w - \frac{\eta}{M}\sum_{i=1}^M g(w+e_i),\qquad e_i\sim\mathcal N(0,(\gamma\lVert w\rVert)^2)",
}
Paths = Mapping[str, list[Step]]


@st.cache_resource(max_entries=16, show_spinner=False)
def _paths(settings: ToySettings) -> Paths:
    return {name: toy_path(two_basins(), name, np.array(START), settings, steps=STEPS) for name in SOLVERS}


@st.cache_resource(max_entries=16, show_spinner=False)
def _drawn(settings: ToySettings, look: take_away.Look) -> go.Figure:
    """Return the animation of these settings, shared between reruns and sessions: never write to it."""
    return look.put_on(paths_chart(two_basins(), _paths(settings)))


@st.fragment
def draw() -> None:
    """Draw the part."""
    st.markdown(
        "FVM looks for weights that stay good when they are moved, by up to γ, in the worst direction. SAM climbs to "
        "about that worst point, takes the gradient there, and steps back down from where it stood."
    )
    st.latex(
        r"\tilde\theta=\arg\min_\theta\hat R^{\gamma}_{val}(\theta)\;\text{(Eq. 14)},\qquad "
        r"\hat R^{\gamma}_{val}(\theta)="
        r"\underbrace{\max_{\lVert\Delta\rVert\le\gamma}\hat R_{val}(\theta+\Delta)-\hat R_{val}(\theta)}"
        r"_{\text{sharpness}}+\hat R_{val}(\theta)\;\text{(Eq. 16)}"
    )
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        radius = st.slider("Radius ρ", 0.0, 1.0, 0.4, 0.05, key="sam_radius", help="Of SAM, ASAM and F-SAM")
        gamma = st.slider("LPF's noise γ", 0.0, 0.4, 0.15, 0.05, key="sam_gamma")
        sigma = st.slider("F-SAM's σ", 0.0, 1.0, 1.0, 0.1, key="sam_sigma")
        noise = st.slider("Noise of the batches", 0.0, 0.4, 0.2, 0.05, key="sam_noise")
        seed = int(st.number_input("Seed", 0, 9999, 0, key="sam_seed", help="Decides all noise"))
        settings = ToySettings(radius=radius, gamma=gamma, sigma=sigma, noise=noise, seed=seed)
    with right, shown(stop=False):
        st.markdown("##### The paths: play, pause, or drag the step")
        take_away.draw(
            _drawn(settings, take_away.look()), name="solver-paths", data=paths_table(_paths(settings)),
            alt="Paths of five solvers on a surface with a sharp and a flat minimum", finished=True,
        )  # fmt: skip
        st.caption("Ends in: " + " · ".join(_ends(two_basins(), _paths(settings))))
    _pieces(settings)
    learn_questions.draw("sam")


@st.fragment
def _pieces(settings: ToySettings) -> None:
    st.markdown("##### One step in pieces")
    solver = st.segmented_control(
        "Solver", SOLVERS, default="sam", required=True, key="sam_solver",
        format_func=lambda name: SOLVER_INFO[name].title,
    ) or "sam"  # fmt: skip
    names = PLAIN if solver == "sgd" else PIECES
    one, two = st.columns([1, 2.6], gap="medium")
    with one:
        number = int(st.number_input("Step of the path", 1, STEPS, 1, key="sam_step"))
        piece = min(int(st.session_state.setdefault("sam_piece", 0)), len(names) - 1)
        with st.container(horizontal=True):
            st.button(
                "Back", key="sam_back", icon=":material/chevron_left:", on_click=_turn, args=(-1, len(names)),
                disabled=piece == 0 and number == 1,
            )  # fmt: skip
            st.button(
                "Next", key="sam_next", icon=":material/chevron_right:", on_click=_turn, args=(1, len(names)),
                type="primary", disabled=piece == len(names) - 1 and number == STEPS,
            )  # fmt: skip
        st.markdown(f"**{piece + 1} of {len(names)}: {names[piece]}**")
        st.caption(f"{SOLVER_INFO[solver].sentence} After the last piece, *Next* goes to the next step of the path.")
    with two:
        st.latex(FORMULAS[solver])
        path = _paths(settings)[solver]
        shown_piece = piece if solver != "sgd" or piece < 2 else len(PIECES) - 1
        take_away.draw(
            step_chart(two_basins(), path, number, shown_piece, COLOURS[solver]), name="one-step",
            data=step_table(path[number - 1]), alt=f"Step {number} of {SOLVER_INFO[solver].title}: {names[piece]}",
        )  # fmt: skip


def _turn(by: int, pieces: int) -> None:
    """Go to the next or the last piece, over the ends of a step to its neighbour on the path."""
    piece = min(st.session_state.get("sam_piece", 0), pieces - 1)
    place = (st.session_state["sam_step"] - 1) * pieces + piece + by
    place = min(max(place, 0), STEPS * pieces - 1)
    st.session_state["sam_step"], st.session_state["sam_piece"] = place // pieces + 1, place % pieces


def _ends(surface: ToySurface, paths: Paths) -> list[str]:
    out = []
    for name, path in paths.items():
        end = points_of(path)[-10:].mean(0)
        place = next(
            (word for word, c in (("sharp", SHARP), ("flat", FLAT)) if np.linalg.norm(end - c) < 0.5), "between"
        )
        out.append(f"{SOLVER_INFO[name].title}: {place} (curvature {surface.sharpness(end):.1f})")
    return out
