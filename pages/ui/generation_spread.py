"""How each method's scores are spread: training pairs of the validation pair's class, and all others."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.generation.score_store import TRAINING, VALIDATION, ScoreRun
from fvm_core.workspace import Workspace
from pages.ui import chart
from pages.ui.columns import PIXELS, USUAL, ask, fitting
from pages.ui.distribution import Distribution, distribute
from pages.ui.figures_spread import histograms
from pages.ui.generation_runs import Group, changed, matrix, samples
from pages.ui.scales import Scale, fit_scale

SAME, OTHER = "same class", "other classes"
MOST = 400_000
AXES = {"rank": "Rank", "score": "Score"}


def draw(workspace: Workspace, group: Group) -> None:
    """Draw the histograms, of all validation pairs together or of one class."""
    first = group.runs[0]
    frames = [samples(workspace, first.name, part) for part in (TRAINING, VALIDATION)]
    if any(frame["class"].isna().any() for frame in frames):
        return
    st.subheader("Scores by class")
    a, b = st.columns([1, 2.2], vertical_alignment="bottom")
    axis = a.segmented_control(
        "Axis", list(AXES), default="rank", required=True, key="gen_axis", format_func=AXES.__getitem__,
        help="Rank: percentile among the training pairs, for each validation pair apart; its scores have a scale of "
        "their own.",
    )  # fmt: skip
    names = list(dict.fromkeys(frames[1]["class"]))
    wanted = b.selectbox(
        "Validation pairs of", ["", *names], key="gen_class", format_func=lambda one: one or "all classes"
    )
    panels = [
        _panel(
            workspace,
            run,
            method,
            group.label(run, method),
            str(axis),
            str(wanted),
            changed(workspace, run.name, method),
        )
        for run, method in group.methods
    ]
    fit = fitting(USUAL)
    chart.draw(
        histograms(panels, columns=min(4, len(panels), fit), width=PIXELS * fit), name="generation-scores",
        data=lambda: pd.concat([panel.frame() for panel in panels]),
        alt=f"Histograms of {len(panels)} methods' scores, pairs of the same class and of other classes apart",
    )  # fmt: skip
    st.caption(
        "To the right: speaks for the validation pair. Dashed lines are medians; heights are shares of the group."
    )
    ask(USUAL)


@st.cache_resource(show_spinner="Counting the scores …", max_entries=32)
def _panel(
    _workspace: Workspace, _run: ScoreRun, method: str, title: str, axis: str, wanted: str, version: tuple[str, int]
) -> Distribution:
    training, validation = (samples(_workspace, _run.name, part) for part in (TRAINING, VALIDATION))
    numbers = matrix(_workspace, _run.name, method)
    columns = np.arange(len(validation)) if not wanted else np.flatnonzero(validation["class"] == wanted)
    most = max(1, MOST // max(1, len(training)))
    if len(columns) > most:
        columns = columns[np.linspace(0, len(columns) - 1, most).round().astype(int)]
    values, same = by_class(
        numbers[:, columns], training["class"], validation["class"].iloc[columns], rank=axis == "rank"
    )
    scale = Scale() if axis == "rank" else fit_scale(values)
    limits = (0.0, 100.0) if axis == "rank" else _limits(values, scale)
    unit = "percentile →" if axis == "rank" else "score →"
    bins = even_bins(len(training)) if axis == "rank" else 50
    return distribute(values, {SAME: same, OTHER: ~same}, title=title, axis=unit, scale=scale, limits=limits, bins=bins)


def even_bins(samples: int) -> int:
    """Return a number of bins, 20 to 50, into which so many ranks fall evenly, or nearly so.

    >>> even_bins(900), even_bins(120), even_bins(7)
    (50, 40, 50)
    """
    return min(range(20, 51), key=lambda bins: (min(samples % bins, -samples % bins), -bins) if samples > 50 else -bins)


def by_class(
    scores: NDArray[np.float32], training: pd.Series, validation: pd.Series, *, rank: bool
) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
    """Return all scores in one row, and which are of a training pair of the validation pair's class.

    `scores` (n, v); with `rank` each column becomes percentiles in [0, 100], equal scores sharing their mean one.
    """
    values = scores.astype(np.float64)
    if rank:
        values = 100.0 * (pd.DataFrame(values).rank().to_numpy() - 0.5) / len(values)
    same = training.to_numpy(object)[:, None] == validation.to_numpy(object)[None, :]
    return values.ravel(), same.ravel()


def _limits(values: NDArray[np.float64], scale: Scale) -> tuple[float, float]:
    placed = scale.forward(values[np.isfinite(values)])
    low, high = np.quantile(placed, [0.001, 0.999]) if placed.size else (0.0, 1.0)
    return float(low), float(high)
