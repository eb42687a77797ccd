"""Label noise page, second tab: how good the labels of each class are."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st

from pages.ui import chart, review_selection
from pages.ui.noise_data import Noise

TITLES = {
    "label": "Given label", "images": "Images", "flagged": "Flagged (%)", "expected": "Expected wrong (%)",
    "wrong": "Really wrong (%)", "missing": "Of this class, labelled otherwise",
}  # fmt: skip


def class_quality(noise: Noise, names: Sequence[str]) -> pd.DataFrame:
    """Return a row a class: images given its label, the share flagged, the share wrong by the posterior and by the
    truth (0 to 100, where known), and how many images of the class have another label by the flags."""
    given = noise.frame["label"].to_numpy(np.int64)
    images = np.bincount(given, minlength=len(names))
    flagged = np.bincount(given[noise.flagged], minlength=len(names))
    columns = {"label": list(names), "images": images, "flagged": 100 * flagged / np.maximum(images, 1)}
    for source, name in (("posterior", "expected"), ("truth", "wrong")):
        if source in noise.confusions:
            columns[name] = 100 * noise.confusions[source].wrong[: len(names)]
    if "flags" in noise.confusions:
        counts = noise.confusions["flags"].counts
        columns["missing"] = (counts.sum(1) - np.diag(counts)).astype(int)
    frame = pd.DataFrame(columns)
    return frame.sort_values("expected" if "expected" in frame else "flagged", ascending=False, kind="stable")


def draw(noise: Noise, names: Sequence[str], *, fingerprint: str) -> None:
    """Draw the table, worst class first, and the way to the flagged images of one."""
    frame = class_quality(noise, names)
    percent: dict[str, Any] = {
        name: st.column_config.ProgressColumn(TITLES[name], format="%.1f", min_value=0, max_value=100)
        for name in ("flagged", "expected", "wrong") if name in frame
    }  # fmt: skip
    words = {name: st.column_config.Column(TITLES[name]) for name in map(str, frame) if name not in percent}
    st.dataframe(
        frame, hide_index=True, column_config={**words, **percent}, alt="Label quality of each class",
        height="content" if len(frame) <= 20 else 560,
    )  # fmt: skip
    chart.csv_button(frame, name="class-quality")
    with st.container(horizontal=True, vertical_alignment="bottom"):
        label = st.selectbox(
            "Flagged images labelled",
            frame.index.tolist(),
            format_func=lambda k: names[k],
            key="noise_class",
            width=260,
        )
        ids = _flagged(noise, int(label))
        if st.button(f"Review {len(ids):,}", type="primary", key="noise_class_review", disabled=not ids):
            origin = f"label noise: flagged as {names[int(label)]}"
            review_selection.review(ids, origin=origin, fingerprint=fingerprint)


def _flagged(noise: Noise, label: int) -> list[str]:
    frame = noise.frame[noise.flagged & (noise.frame["label"] == label).to_numpy()]
    return frame.sort_values("suspicion", ascending=False, kind="stable")["id"].tolist()
