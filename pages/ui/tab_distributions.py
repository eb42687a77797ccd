"""Compare page, first tab: how each method's scores are spread, clean and mislabeled apart."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from fvm_core.influence.methods import METHODS
from pages.ui import chart
from pages.ui.columns import PIXELS, USUAL, fitting
from pages.ui.comparison import Samples, keys_of, percentiles, shared_samples, values
from pages.ui.distribution import Distribution, distribute
from pages.ui.figures_spread import histograms, violins
from pages.ui.scales import Scale, fit_scale
from pages.ui.score_sets import FileKey, ScoreFile, labels_of

SKETCH = 20_001
MEASURES = {"suspicion": "Suspicion", "score": "Own sign", "rank": "Rank"}
COLUMN = {key: "ours" if key in ("influence", "standard") else key for key in METHODS}
BOUNDED = ("margin", "el2n", "confident")
UNITS = {
    "influence": "s (Eq. 21)",
    "standard": "influence (Eq. 6)",
    "loss": "loss (nats)",
    "margin": "margin",
    "el2n": "EL2N",
    "confident": "label quality",
    "datainf": "influence (DataInf)",
    "ekfac": "influence (EK-FAC)",
    "influence_ekfac": "s (EK-FAC)",
    "influence_lissa": "s (LiSSA, random vectors)",
    "influence_datainf": "s (DataInf, random vectors)",
    "first_train": "first order, training Fisher",
    "first_val": "first order, validation Fisher",
    "second_train": "second order, training Fisher",
    "tracin": "influence (TracIn)",
    "gex": "loss shift² (nats²)",
    "posterior": "-log posterior (nats)",
    "error_influence": "s of the label error",
    "typical_influence": "s on a typical image",
    "logit_margin": "logit margin",
}


def axis_title(method: str, measure: str) -> str:
    """Return the axis of a method's numbers: what they are, and an arrow towards likely mislabeled.

    >>> axis_title("loss", "suspicion"), axis_title("confident", "suspicion"), axis_title("confident", "score")
    ('loss (nats) →', '− label quality →', '← label quality')
    """
    if measure == "rank":
        return "percentile →"
    unit, sign = UNITS.get(method, "score"), METHODS[method].suspicious
    if measure == "suspicion":
        return f"{unit} →" if sign > 0 else f"− {unit} →"
    return f"{unit} →" if sign > 0 else f"← {unit}"


def groups_of(samples: Samples) -> dict[str, NDArray[np.bool_]]:
    """Return the groups to draw apart: clean, mislabeled and (if any) unknown; one group without any truth."""
    if not samples.known.any():
        return {"all samples": np.ones(len(samples), bool)}
    return {
        "clean": samples.known & ~samples.wrong, "mislabeled": samples.wrong, "truth unknown": ~samples.known,
    }  # fmt: skip


@st.cache_resource(show_spinner="Comparing the scores …", max_entries=24)
def _panels(
    keys: tuple[FileKey, ...], labels: tuple[str, ...], _files: Sequence[ScoreFile], measure: str, same_axes: bool,
    linear: bool,
) -> list[Distribution]:  # fmt: skip
    groups = groups_of(shared_samples(_files))
    sketches = [] if measure == "rank" else [sketch(_numbers(_files, item, measure)) for item in _files]
    scales, limits = _axes([item.method for item in _files], sketches, measure, same_axes, linear)
    return [
        distribute(
            _numbers(_files, item, measure),
            groups,
            title=item.label,
            axis=axis_title(item.method, measure),
            scale=scale,
            limits=limit,
            bins=50 if measure == "rank" else 60,
        )
        for item, scale, limit in zip(_files, scales, limits, strict=True)
    ]


def _numbers(files: Sequence[ScoreFile], of: ScoreFile, measure: str) -> NDArray[np.float64]:
    return percentiles(files, of) if measure == "rank" else values(files, of, measure).astype(float, copy=False)


def sketch(numbers: NDArray[np.float64], *, most: int = SKETCH) -> NDArray[np.float64]:
    """Return the finite `numbers` in order, at most `most` of them, evenly spaced in rank, the ends among them.

    What an axis is chosen from: its quantiles are off by at most 1 / `most` in rank.
    """
    ordered = np.sort(numbers[np.isfinite(numbers)])
    if len(ordered) <= most:
        return ordered
    return ordered[np.linspace(0, len(ordered) - 1, most).round().astype(np.int64)]


def _axes(
    methods: Sequence[str], sketches: Sequence[NDArray[np.float64]], measure: str, same_axes: bool, linear: bool
) -> tuple[list[Scale], list[tuple[float, float]]]:
    """Return scale and limits of each panel; with `same_axes` those of one method are equal."""
    if measure == "rank":
        return [Scale()] * len(methods), [(0.0, 100.0)] * len(methods)
    scales, limits = [], []
    for method, own in zip(methods, sketches, strict=True):
        alike = [other for key, other in zip(methods, sketches, strict=True) if key == method]
        pool = np.concatenate(alike) if same_axes else own
        scale = Scale() if linear or method in BOUNDED else fit_scale(pool)
        low, high = np.quantile(scale.forward(pool), [0.0005, 0.9995]) if pool.size else (0.0, 1.0)
        scales.append(scale)
        limits.append((float(low), float(high)))
    return scales, limits


@st.cache_resource(show_spinner=False, max_entries=24)
def _figure(
    keys: tuple[FileKey, ...], labels: tuple[str, ...], _files: Sequence[ScoreFile], shape: str, measure: str,
    same_axes: bool, linear: bool, fit: int,
) -> go.Figure:  # fmt: skip
    """Return the chart; building one of many panels takes longer than anything else on a warm page."""
    placed, columns = arranged(_files, _panels(keys, labels, _files, measure, same_axes, linear), fit)
    width = PIXELS * max(fit, columns)
    if shape == "Violins":
        return violins(placed, columns=columns, width=width)
    return histograms(placed, columns=columns, same_height=same_axes, width=width)


def arranged(
    files: Sequence[ScoreFile], panels: Sequence[Distribution], fit: int = USUAL
) -> tuple[list[Distribution | None], int]:
    """Return the panels with gaps so that each run fills a row (one column for the influences), and the columns.

    With at most one method a run, or a single run, they simply flow in rows of three. Where no more than `fit` columns
    fit, the panels of a run flow in rows of as many.
    """
    columns = [COLUMN.get(item.method, item.method) for item in files]
    order = [name for name in dict.fromkeys(COLUMN.values()) if name in columns]
    runs = list(dict.fromkeys(item.run for item in files))
    places = {(item.run, name): panel for item, name, panel in zip(files, columns, panels, strict=True)}
    if len(runs) < 2 or len(order) < 2 or len(places) < len(files):
        return list(panels), min(3, len(panels), fit)
    if len(order) > fit:
        across = -(-len(order) // -(-len(order) // fit))  # rows as long as each other
        flowing: list[Distribution | None] = []
        for run in runs:
            own = [places[run, name] for name in order if (run, name) in places]
            flowing += [*own, *[None] * (-len(own) % across)]
        return flowing, across
    return [places.get((run, name)) for run in runs for name in order], len(order)


def draw(files: Sequence[ScoreFile]) -> None:
    """Draw the tab for the chosen files."""
    samples = shared_samples(files)
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    shape = bar.segmented_control(
        "Shape",
        ["Histograms", "Violins"],
        default="Histograms",
        required=True,
        key="distribution_shape",
        persist_state="session",
    )
    measure = bar.segmented_control(
        "Axis",
        list(MEASURES),
        default="suspicion",
        required=True,
        key="distribution_measure",
        persist_state="session",
        format_func=MEASURES.__getitem__,
    )
    same_axes = bar.toggle(
        "Shared axes",
        value=False,
        key="distribution_same",
        persist_state="session",
        disabled=measure == "rank",
        help="The same axis for one method under all models, and the same height for all histograms",
    )
    linear = bar.toggle(
        "Linear axis",
        value=False,
        key="distribution_linear",
        persist_state="session",
        disabled=measure == "rank",
        help="By default the axis is logarithmic where scores span powers of ten",
    )
    measure = measure or "suspicion"
    which = (keys_of(files), labels_of(files), files)
    panels = _panels(*which, measure, same_axes, linear)
    most = max(arranged(files, panels, len(panels))[1], USUAL)
    figure = _figure(*which, shape or "Histograms", measure, same_axes, linear, fitting(most))
    chart.draw(
        figure,
        name=f"distributions-{measure}",
        data=lambda: pd.concat([panel.frame() for panel in panels]),
        alt=f"{shape} of {MEASURES[measure]} for {len(panels)} methods",
    )
    marks = "points are medians, bars quartiles" if shape == "Violins" else "dashed lines are medians"
    st.caption(_explain(samples, measure, linear, marks))


def _explain(samples: Samples, measure: str, linear: bool, marks: str) -> str:
    parts = ["Arrows point towards likely mislabeled."]
    if samples.known.any():
        clean, wrong = int((samples.known & ~samples.wrong).sum()), int(samples.wrong.sum())
        parts.append(
            f"{clean:,} clean and {wrong:,} mislabeled samples, each drawn as shares of their own group; {marks}."
        )
    else:
        parts.append("No clean labels are known for this dataset, so all samples are drawn as one group.")
    if measure == "rank":
        parts.append(
            "Percentile of suspicion among all samples: a method that finds every wrong label puts all of orange "
            "beyond all blue."
        )
    elif not linear:
        parts.append(
            "Logarithmic where scores span powers of ten (signed scores: linear near 0). The outermost 0.05% on each "
            "side count into the end bins."
        )
    return " ".join(parts)
