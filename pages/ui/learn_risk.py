"""Learn page: Figure 1, alive. A risk with a sharp and a flat minimum that the reader reshapes."""

from __future__ import annotations

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.learn.toy_risk import Foretold, ToyRisk, Well, foretell
from pages.ui import learn_questions, take_away
from pages.ui.errors import shown
from pages.ui.figures import finish
from pages.ui.theme import CLEAN, FVM, MISLABELED, NEUTRAL, VM

CENTRES = (-2.0, 2.0)
NAMES, COLOURS = ("sharp", "flat"), (VM, FVM)
WIDTHS, DEPTH, CHANGE = (0.35, 1.2), 1.0, 0.6


def risk_of(widths: tuple[float, float], depths: tuple[float, float]) -> ToyRisk:
    """Return the risk of the page: wells at -2 and 2, no bowl, so that equal wells are mirror images."""
    wells = tuple(
        Well(centre=c, depth=d, width=w) for c, d, w in zip(CENTRES, depths, widths, strict=True)
    )  # fmt: skip
    return ToyRisk(wells=wells, bowl=0.0)


@st.fragment
def draw() -> None:
    """Draw the part."""
    st.markdown(
        "An influence is a forecast: how much does the validation risk $R$ change when the weights move by "
        r"$\Delta\theta$? Even with the very $\Delta\theta$, the forecast is only as good as the minimum is flat."
    )
    left, right = st.columns([1, 2.6], gap="medium")
    with left:
        delta = st.slider("Change Δθ: drag it", -1.5, 1.5, CHANGE, 0.05, key="risk_delta")
        order = st.segmented_control(
            "Order of the estimate", ("first", "second"), default="second", required=True, key="risk_order",
        )  # fmt: skip
        sharp = st.slider("Width of the sharp minimum", 0.15, 1.5, WIDTHS[0], 0.05, key="risk_sharp")
        flat = st.slider("Width of the flat minimum", 0.15, 1.5, WIDTHS[1], 0.05, key="risk_flat")
        deep = st.slider("Depth of the sharp minimum", 0.3, 1.2, DEPTH, 0.1, key="risk_deep")
        shallow = st.slider("Depth of the flat minimum", 0.3, 1.2, DEPTH, 0.1, key="risk_shallow")
        offset = st.slider(
            "Offset from the minimum", 0.0, 0.5, 0.0, 0.05, key="risk_offset",
            help="A model that is not quite at its minimum has a slope: the first-order term is not 0 then",
        )  # fmt: skip
    with right, shown(stop=False):
        risk = risk_of((sharp, flat), (deep, shallow))
        starts = [risk.minimum(which) + offset for which in (0, 1)]
        found = [foretell(risk, start, delta) for start in starts]
        figure = chart(risk, starts, found, delta, order or "second")
        take_away.draw(
            figure, name="figure-1", data=table(risk, starts, delta),
            alt="A risk with a sharp and a flat minimum, and estimates",
        )  # fmt: skip
        st.table(_numbers(risk, starts, found))
    st.latex(
        r"R(\theta+\Delta\theta)-R(\theta)\;\approx\;\underbrace{g^\top\Delta\theta}_{\text{first order, Eq. 4}}"
        r"\;+\;\underbrace{\tfrac12\,\Delta\theta^\top H\,\Delta\theta}_{\text{second order, Eq. 19}}"
    )
    learn_questions.draw("risk")


def _numbers(risk: ToyRisk, starts: list[float], found: list[Foretold]) -> pd.DataFrame:
    rows = {
        "curvature R″": [f"{float(risk.curvature(start)):.2f}" for start in starts],
        "true change": [_signed(item.actual) for item in found],
        "first order": [_signed(item.first) for item in found],
        "second order": [_signed(item.second) for item in found],
        "gap, first": [_signed(item.first_gap) for item in found],
        "gap, second": [_signed(item.second_gap) for item in found],
    }
    return pd.DataFrame(rows, index=[f"{name} minimum" for name in NAMES])


def table(risk: ToyRisk, starts: list[float], delta: float) -> pd.DataFrame:
    """Return columns curve, theta, risk: the risk itself and both orders' estimates from each minimum to its end."""
    t = np.linspace(-5, 5, 501)
    frames = [pd.DataFrame({"curve": "risk", "theta": t, "risk": risk.value(t)})]
    for name, start in zip(NAMES, starts, strict=True):
        along = np.linspace(0, delta, 41)
        line = float(risk.value(start)) + float(risk.slope(start)) * along
        bent = line + float(risk.curvature(start)) * along**2 / 2
        for order, values in (("first", line), ("second", bent)):
            frames.append(pd.DataFrame({"curve": f"{order} order, {name}", "theta": start + along, "risk": values}))
    return pd.concat(frames, ignore_index=True)


def _signed(value: float) -> str:
    return f"{round(value, 3) + 0.0:+.3f}"


def chart(risk: ToyRisk, starts: list[float], found: list[Foretold], delta: float, order: str) -> go.Figure:
    """Return Figure 1: the curve and, at each minimum, the true and the estimated change and the gap between them."""
    t = np.linspace(-5, 5, 501)
    figure = go.Figure(
        go.Scatter(
            x=t, y=risk.value(t), mode="lines", name="risk R(θ)", line={"color": CLEAN, "width": 3, "simplify": False}
        )
    )
    for name, colour, start, item in zip(NAMES, COLOURS, starts, found, strict=True):
        base, end = float(risk.value(start)), start + delta
        along = np.linspace(0, delta, 40)
        bent = float(risk.curvature(start)) * along**2 / 2 if order == "second" else 0.0
        guess = base + (item.second if order == "second" else item.first)
        figure.add_scatter(
            x=start + along, y=base + float(risk.slope(start)) * along + bent, mode="lines", name=f"estimate, {name}",
            line={"color": colour, "width": 3, "dash": "dash"},
        )  # fmt: skip
        figure.add_scatter(
            x=[end, end], y=[base + item.actual, guess], mode="lines+markers", name=f"gap, {name}",
            line={"color": MISLABELED, "width": 4}, marker={"size": 9, "symbol": ["circle", "x"]},
        )  # fmt: skip
        figure.add_scatter(
            x=[start],
            y=[base],
            mode="markers",
            showlegend=False,
            hovertemplate=name,
            marker={"color": NEUTRAL, "size": 11},
        )
    figure.update_xaxes(title_text="parameter θ", range=[-4.5, 4.5])
    figure.update_yaxes(title_text="risk R", range=[-0.15, 2.4])
    return finish(figure, height=430, legend={"orientation": "h", "y": 1.02, "yanchor": "bottom"})
