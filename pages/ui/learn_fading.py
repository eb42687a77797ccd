"""Learn page: why the standard score fades (Fig. 3b) with a slider over snapshots."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from plotly.subplots import make_subplots

from fvm_core.influence.store import read_scores
from fvm_core.learn.fading import Fading, fading
from pages.ui import learn_questions, take_away
from pages.ui.figures import faded, finish
from pages.ui.links import link
from pages.ui.score_sets import FileKey, ScoreFile
from pages.ui.theme import CLEAN, MISLABELED

COLUMNS = ["step", "method", "score", "mislabeled"]


@st.cache_data(show_spinner=False, max_entries=8)
def frame_of(key: FileKey) -> pd.DataFrame:
    return read_scores(key[0], columns=COLUMNS).frame


def choose(snapshots: Sequence[ScoreFile], key: str) -> ScoreFile | None:
    """Draw the choice of a snapshot file and return it; without any, say where they come from."""
    if not snapshots:
        st.info(
            "No tuning snapshots have been scored yet. The demo does it; for a model of yours the Score page does.",
            icon=":material/timeline:",
        )
        link("score", "Score the snapshots of a tuned model")
        return None
    paths = {item.path: item for item in snapshots}
    name = st.selectbox(
        "Tuned model", list(paths), key=key, width=420,
        format_func=lambda path: _title(paths[path]),
    )  # fmt: skip
    return paths[name]


def _title(item: ScoreFile) -> str:
    return item.run if item.model in ("", item.run) else f"{item.model} · run {item.run}"


def draw(snapshots: Sequence[ScoreFile]) -> None:
    """Draw the histograms of both scores under one snapshot, chosen by a slider."""
    st.markdown(
        "While a model is tuned towards the minimum of the validation risk, its gradient goes to zero, and with it the "
        "standard influence. The score at the minimum squares the *sample's* gradient, which does not fade."
    )
    chosen = choose(snapshots, "fading_file")
    if chosen is not None:
        _histograms(frame_of(chosen.key))
        learn_questions.draw("fading")


@st.fragment
def _histograms(frame: pd.DataFrame) -> None:
    standard, ours = fading(frame, "standard"), fading(frame, "influence", logarithmic=True)
    steps = [item.step for item in standard]
    if st.session_state.get("fading_step") not in steps:
        st.session_state["fading_step"] = steps[0]
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="small")
    bar.button("Back", key="fading_back", icon=":material/chevron_left:", on_click=_turn, args=(steps, -1))
    bar.button(
        "Next", key="fading_next", icon=":material/chevron_right:", on_click=_turn, args=(steps, 1), type="primary"
    )
    step = bar.select_slider("Step of the tuning", steps, key="fading_step", width=500) if len(steps) > 1 else steps[0]
    at = steps.index(step)
    take_away.draw(
        fading_chart(standard[at], ours[at], standard, ours), name="fading", data=fading_table(standard, ours),
        alt=f"Histograms of both scores after {step} steps",
    )  # fmt: skip
    first, now = standard[0], standard[at]
    st.markdown(
        f"Median size of the standard influence of clean samples: **{now.median_clean:.2g}** after {step} steps, "
        f"{first.median_clean:.2g} at step {first.step}. Of ours: mislabeled **{ours[at].median_wrong:.2g}**, clean "
        f"**{ours[at].median_clean:.2g}**."
    )
    st.latex(
        r"\mathcal I(z,S_{val})=\frac1M\sum_m g_{z_m}^\top H^{-1}g_z\;\to\;0\quad\text{(Eq. 6)}\qquad "
        r"s(z)=g_z^\top F_{val}^{-1}g_z\quad\text{(Eq. 21, 24)}"
    )


def _turn(steps: list[int], by: int) -> None:
    at = steps.index(st.session_state["fading_step"]) + by
    st.session_state["fading_step"] = steps[min(max(at, 0), len(steps) - 1)]


def fading_table(standard: Sequence[Fading], ours: Sequence[Fading]) -> pd.DataFrame:
    """Return the counts of all snapshots: columns score, step, low, high, clean, mislabeled."""
    frames = [
        pd.DataFrame(
            {"score": name, "step": item.step, "low": item.edges[:-1], "high": item.edges[1:], "clean": item.clean,
             "mislabeled": item.wrong}
        )
        for name, items in (("standard", standard), ("influence", ours))
        for item in items
    ]  # fmt: skip
    return pd.concat(frames, ignore_index=True)


def fading_chart(
    standard: Fading, ours: Fading, all_standard: Sequence[Fading], all_ours: Sequence[Fading]
) -> go.Figure:
    """Return two histograms whose axes stay as they are over all snapshots."""
    figure = make_subplots(rows=1, cols=2, subplot_titles=["<b>Standard influence</b>", "<b>Ours, s</b> (log axis)"])
    for column, item, every in ((1, standard, all_standard), (2, ours, all_ours)):
        edges = np.log10(item.edges) if column == 2 else item.edges
        for name, counts, colour in (("clean", item.clean, CLEAN), ("mislabeled", item.wrong, MISLABELED)):
            figure.add_bar(
                x=(edges[1:] + edges[:-1]) / 2, y=counts, width=np.diff(edges), name=name, legendgroup=name,
                showlegend=column == 1, marker={"color": faded(colour, 0.55), "line": {"width": 0}}, row=1, col=column,
                hovertemplate="%{y} samples<extra>" + name + "</extra>",
            )  # fmt: skip
        top = max(int(max(other.clean.max(), other.wrong.max())) for other in every)
        figure.update_yaxes(range=[0, 1.05 * top], row=1, col=column)
    figure.update_xaxes(title_text="score: negative = harmful", row=1, col=1)
    figure.update_xaxes(title_text="log10 s: large = mislabeled", row=1, col=2)
    figure.update_yaxes(title_text="samples", row=1, col=1)
    legend = {"orientation": "h", "y": 1.1, "yanchor": "bottom"}
    return finish(figure, height=430, barmode="overlay", legend=legend)
