"""Label noise page, first tab: which class is given which label, and the pairs to look at."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import streamlit as st

from fvm_core.review.confusion import Confusion, confused_pairs
from pages.ui import chart, review_selection
from pages.ui.noise_data import SOURCES, Noise
from pages.ui.noise_figures import long_table, transition_map
from pages.ui.text import plain

PAIRS = 12
WORDS = {
    "flags": "Flagged images count as their suggested class, all others as their label.",
    "posterior": "Each image counts for every class by its chance, as the label error posterior has it.",
    "truth": "The known classes of the dataset.",
}
ROWS = {"flags": "Class by the flags", "posterior": "Class by the posterior", "truth": "True class"}


def draw(noise: Noise, names: Sequence[str], *, fingerprint: str) -> None:
    """Draw an estimate beside the truth (or the other estimate), then the most confused pairs."""
    known = noise.confusions
    estimates = [key for key in ("flags", "posterior") if key in known]
    if not estimates:
        st.info(
            "These scores suggest no labels, so nothing tells which class an image is of. Choose scores that do, such "
            "as the posterior or the influence.", icon=":material/help:",
        )  # fmt: skip
        return
    shown = [estimates[0], "truth"] if "truth" in known else estimates
    if "truth" in known and len(estimates) > 1:
        picked = st.segmented_control(
            "Estimate", estimates, default=estimates[0], required=True, format_func=SOURCES.__getitem__,
            key="noise_estimate", persist_state="session",
        )  # fmt: skip
        shown[0] = picked or estimates[0]
    top = max(_largest(known[key]) for key in shown)
    for column, key in zip(st.columns(2), shown, strict=False):
        with column:
            _matrix(key, known[key], names, top)
    if "truth" in known:
        st.caption(
            "How far an estimate is from the truth (share of a class's images that would have to move, mean over the "
            "classes): "
            + ", ".join(
                f"{SOURCES[key].lower()} {100 * known[key].distance(known['truth']):.1f} %" for key in estimates
            )
            + "."
        )
    _pairs(noise, shown[0], names, fingerprint)


def _largest(confusion: Confusion) -> float:
    pairs = confused_pairs(confusion, most=len(confusion.counts) ** 2)
    return float(pairs["share"].max()) if len(pairs) else 0.0


def _matrix(key: str, confusion: Confusion, names: Sequence[str], top: float) -> None:
    st.markdown(f"**{SOURCES[key]}** · {100 * confusion.noise:.1f} % of the labels wrong", help=WORDS[key])
    chart.draw(
        transition_map(confusion.transition, names, top=top, rows=ROWS[key]), name=f"transition-{key}",
        data=long_table(confusion.transition, confusion.counts, names),
        alt=f"Share of each class that is given each label, by {SOURCES[key].lower()}",
    )  # fmt: skip


def _pairs(noise: Noise, key: str, names: Sequence[str], fingerprint: str) -> None:
    """Draw the most confused pairs of one estimate, each with the way to its flagged images."""
    st.subheader("Most confused", anchor="pairs")
    pairs = confused_pairs(noise.confusions[key], most=PAIRS)
    if pairs.empty:
        st.info("No class is taken for another by this estimate.", icon=":material/check:")
        return
    widths = [2.6, 1.1, 1.1, 1.1, 1.3]
    others = [source for source in SOURCES if source in noise.confusions]
    rows = st.container(key="table_pairs")
    for column, word in zip(
        rows.columns(widths), ["Class → given label", *(SOURCES[one] for one in others)], strict=False
    ):
        column.caption(word)
    for row in pairs.to_dict("records"):
        true, given = int(row["true"]), int(row["given"])
        columns = rows.columns(widths, vertical_alignment="center")
        columns[0].markdown(f"**{plain(names[true])}** → {plain(names[given])} · {100 * row['share']:.1f} %")
        for column, source in zip(columns[1:], others, strict=False):
            column.markdown(f"{noise.confusions[source].counts[true, given]:,.0f}")
        ids = noise.pair(true, given)
        if columns[4].button(
            f"Review {len(ids):,}" if ids else "None flagged", key=f"noise_pair_{true}_{given}", disabled=not ids,
            help="The flagged images with this label and this suggestion.", width="stretch",
        ):  # fmt: skip
            origin = f"label noise: {names[given]} that may be {names[true]}"
            review_selection.review(ids, origin=origin, fingerprint=fingerprint)
    chart.csv_button(_named(pairs, names), name=f"confused-pairs-{key}")


def _named(pairs: pd.DataFrame, names: Sequence[str]) -> pd.DataFrame:
    return pairs.assign(true=[names[k] for k in pairs["true"]], given=[names[k] for k in pairs["given"]])
