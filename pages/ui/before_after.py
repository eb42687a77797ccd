"""Accuracy on clean images before and after a review, overall and per class."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from pages.ui.text import plain

CHANCE = 0.05


def draw_comparison(result: Mapping[str, Any]) -> None:
    """Draw what a `retrain` job found: two figures, what their difference may mean, and a row a class."""
    found = result["comparison"]
    before, after, count = float(found["before"]), float(found["after"]), int(found["count"])
    a, b, c = st.columns([1, 1, 3])
    a.metric("Accuracy before", f"{before:.1%}")
    b.metric("after", f"{after:.1%}", f"{100 * (after - before):+.1f} points")
    c.markdown(verdict(found))
    c.caption(
        f"{int(result['changed']):,} labels changed. Before: {plain(result['before'])}; after: "
        f"{plain(result['model'])}. {count:,} clean images, one training each: another seed gives other figures."
    )
    for note in result.get("notes", ()):
        st.caption(plain(note))
    st.dataframe(
        class_table(found["classes"]), hide_index=True,
        column_config={
            name: st.column_config.NumberColumn(format="percent") for name in ("Before", "After", "Difference")
        },
    )  # fmt: skip


def verdict(found: Mapping[str, Any]) -> str:
    """Return in one sentence how many images turned right or wrong, and whether that could be chance.

    >>> verdict({"won": 30, "lost": 5, "p": 1e-4})
    '30 images are right only after, 5 only before: more than chance explains (p = 0.0001).'
    """
    won, lost, p = int(found["won"]), int(found["lost"]), float(found["p"])
    means = "more than chance explains" if p < CHANCE else "chance alone may do that"
    return f"{won:,} images are right only after, {lost:,} only before: {means} (p = {p:.2g})."


def class_table(classes: list[Mapping[str, Any]]) -> pd.DataFrame:
    """Return columns Class, Images, Before, After, Difference (shares in [0, 1]), the largest change first."""
    frame = pd.DataFrame(
        {
            "Class": [str(row["name"]) for row in classes],
            "Images": [int(row["count"]) for row in classes],
            "Before": pd.array([row["before"] for row in classes], dtype="Float64"),
            "After": pd.array([row["after"] for row in classes], dtype="Float64"),
        }
    )
    frame["Difference"] = frame["After"] - frame["Before"]
    order = frame["Difference"].abs().fillna(-1).sort_values(ascending=False, kind="stable").index
    return frame.loc[order].reset_index(drop=True)
