"""Compare page, third tab: one sample of the training set scored under each snapshot of a tuning (Fig. 3)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import streamlit as st

from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.store import read_scores
from pages.ui import chart
from pages.ui.figures import snapshot_auc, snapshot_boxes
from pages.ui.kept import kept
from pages.ui.links import link
from pages.ui.scales import Scale, fit_scale
from pages.ui.score_sets import FileKey, ScoreFile
from pages.ui.theme import CLEAN, NEUTRAL

WHISKERS = (0.05, 0.25, 0.5, 0.75, 0.95)


@st.cache_data(show_spinner=False, max_entries=8)
def _frame(key: FileKey) -> pd.DataFrame:
    return read_scores(key[0], columns=["step", "method", "score", "suspicion", "mislabeled"]).frame


def auc_over_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return columns step, method, auc (0 to 1), samples, for steps whose known samples hold both kinds."""
    rows = []
    known = frame[frame["mislabeled"].notna()]
    for (step, method), part in known.groupby(["step", "method"], sort=True):
        wrong = part["mislabeled"].to_numpy(dtype=bool)
        if 0 < wrong.sum() < len(wrong):
            auc, _ = auc_ap(part["suspicion"].to_numpy(dtype=float), wrong)
            rows.append({"step": step, "method": str(method), "auc": auc, "samples": len(part)})
    return pd.DataFrame(rows, columns=["step", "method", "auc", "samples"])


def boxes_over_steps(frame: pd.DataFrame) -> pd.DataFrame:
    """Return columns step, low, q1, median, q3, high (5, 25, 50, 75, 95%), samples: the standard influence of the
    clean samples, or of all samples where no truth is known."""
    part = frame[frame["method"] == "standard"]
    if part["mislabeled"].notna().any():
        part = part[part["mislabeled"].notna()]
        part = part[~part["mislabeled"].astype(bool)]
    rows = []
    for step, scores in part.groupby("step", sort=True)["score"]:
        low, q1, median, q3, high = np.quantile(scores, WHISKERS)
        rows.append(
            {"step": step, "low": low, "q1": q1, "median": median, "q3": q3, "high": high, "samples": len(scores)}
        )
    return pd.DataFrame(rows, columns=["step", "low", "q1", "median", "q3", "high", "samples"])


def draw(snapshots: Sequence[ScoreFile]) -> None:
    """Draw the tab from the snapshot files of the chosen dataset."""
    if not snapshots:
        st.info(
            "No tuning snapshots of this dataset have been scored yet. The Score page scores a sample of the training "
            "set under each kept snapshot of a tuned model.",
            icon=":material/timeline:",
        )
        link("score", "Score the snapshots of a tuned model")
        return
    paths = {item.path: item for item in snapshots}
    bar = st.container(horizontal=True, vertical_alignment="bottom", gap="medium")
    chosen = bar.selectbox(
        "Tuned model", list(paths), key=kept("snapshots_file", paths, next(iter(paths))), width=420,
        persist_state="session",
        format_func=lambda path: f"{paths[path].model or paths[path].run} · run {paths[path].run}",
    )  # fmt: skip
    frame = _frame(paths[chosen].key)
    known = bool(frame["mislabeled"].notna().any())
    logarithmic = bar.toggle(
        "Logarithmic boxes", key="snapshots_log", persist_state="session",
        help="Draws both signs on a logarithmic axis (linear near 0), to see how far the later boxes have shrunk",
    )  # fmt: skip
    left, right = st.columns(2, gap="medium")
    with left:
        st.subheader("Finding wrong labels (Fig. 3a)", anchor=False)
        aucs = auc_over_steps(frame)
        if aucs.empty:
            st.info("AUC needs samples known to be clean and samples known to be mislabeled.")
        else:
            chart.draw(snapshot_auc(aucs), name="snapshot-auc", data=aucs, alt="ROC AUC over tuning steps")
    with right:
        whom = "clean samples" if known else "all samples"
        st.subheader(f"Standard influence, {whom} (Fig. 3b)", anchor=False)
        boxes = boxes_over_steps(frame)
        if boxes.empty:
            st.info("This file holds no standard influence.")
        else:
            axis = "Standard influence (negative = harmful)"
            scale = fit_scale(boxes[["low", "q1", "median", "q3", "high"]]) if logarithmic else Scale()
            figure = snapshot_boxes(boxes, axis=axis, colour=CLEAN if known else NEUTRAL, scale=scale)
            chart.draw(figure, name="snapshot-boxes", data=boxes, alt="Box plots of the standard influence over steps")
    st.caption(
        f"{_count(frame):,} samples of the training set under {frame['step'].nunique()} snapshots. "
        "Boxes: quartiles and median; whiskers: 5% and 95%."
    )


def _count(frame: pd.DataFrame) -> int:
    return int(frame.groupby(["step", "method"]).size().max()) if len(frame) else 0
