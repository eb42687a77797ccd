"""The filters above the gallery, and the order they freeze until the person asks for a new one."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fvm_core.provenance import digest
from fvm_core.review.queue import QueueFilter, queue
from fvm_core.review.score_rows import ScoreRows
from pages.ui.text import plain

STATE_TITLES = {
    "undecided": "Undecided",
    "all": "All",
    "accept": "Accepted",
    "keep": "Kept",
    "pick": "Picked",
    "skip": "Skipped",
}
ORDER_TITLES = {
    "most": "Most suspicious first",
    "least": "Least suspicious first",
    "dataset": "As in the dataset",
}
PAGE_SIZES = (24, 36, 48, 60)


def choose_filter(names: Sequence[str], table: ScoreRows) -> tuple[QueueFilter, int]:
    """Draw the filters and return them with the number of images a page. Raises ReviewError for impossible ones."""
    columns = st.columns([7.2, 1.9, 2.1, 1.7], vertical_alignment="bottom")
    state = columns[0].segmented_control(
        "State", list(STATE_TITLES), format_func=STATE_TITLES.__getitem__, key="review_state",
        default=None if "review_state" in st.session_state else "undecided",
        label_visibility="collapsed", persist_state="session",
    )  # fmt: skip
    labels = list(range(len(names)))
    given = columns[1].multiselect(
        "Given label", labels, format_func=lambda label: names[label], placeholder="Given: any",
        label_visibility="collapsed", key="review_given", persist_state="session",
    )  # fmt: skip
    suggested = columns[2].multiselect(
        "Suggested label", labels, format_func=lambda label: names[label], placeholder="Suggested: any",
        label_visibility="collapsed", key="review_suggested", persist_state="session",
    )  # fmt: skip
    with columns[3].popover("More", icon=":material/filter_list:", width="stretch"):
        order = st.selectbox(
            "Order", list(ORDER_TITLES), format_func=ORDER_TITLES.__getitem__, key="review_order",
            persist_state="session",
        )  # fmt: skip
        search = st.text_input("Part of an id", key="review_search", persist_state="session")
        top = st.number_input(
            "Only the k most suspicious", min_value=1, max_value=max(len(table), 1), value=None, step=100,
            placeholder="all", key="review_top", persist_state="session",
        )  # fmt: skip
        low, high = _score_range(table)
        size = st.selectbox("Images a page", PAGE_SIZES, key="review_page_size", persist_state="session")
        if st.button("Refresh the queue", icon=":material/refresh:", help="Leave out what was decided meanwhile."):
            st.session_state["review_refresh"] = st.session_state.get("review_refresh", 0) + 1
    return (
        QueueFilter(
            given=tuple(given),
            suggested=tuple(suggested),
            state=state or "all",
            low=low,
            high=high,
            top=int(top) if top else None,
            search=search.strip(),
            order=order,
        ),
        size,
    )


def _score_range(table: ScoreRows) -> tuple[float | None, float | None]:
    if table.range is None:
        return None, None
    st.caption("Scores of this run: {} to {}".format(*(plain(f"{end:.4g}") for end in table.range)))
    left, right = st.columns(2)
    low = left.number_input(
        "Score from", value=None, step=0.1, format="%g", placeholder="any", key="review_low", persist_state="session"
    )
    high = right.number_input(
        "to", value=None, step=0.1, format="%g", placeholder="any", key="review_high", persist_state="session"
    )
    return low, high


@dataclass(frozen=True)
class Frozen:
    """An order that stays. `positions` (q,) rows of the score table; `place` (n,) the place of each row, -1 for those
    left out; `token` names this very order of this very file; `start` is the first undecided place, else 0."""

    positions: NDArray[np.int32]
    place: NDArray[np.int32]
    token: str
    start: int


def frozen_queue(
    table: ScoreRows, wanted: QueueFilter, actions: Callable[[], Mapping[int, str]], *, key: Sequence[object]
) -> Frozen:
    """Return the order of the gallery; `actions()` are those of the decided positions of the table.

    It is kept until `key`, the filter or the refresh count changes: deciding does not pull images from under the
    person's fingers.
    """
    name = digest([[str(part) for part in key], repr(wanted), st.session_state.get("review_refresh", 0)])
    kept: tuple[str, Frozen] | None = st.session_state.get("review_queue")
    if kept is None or kept[0] != name:
        known = actions()
        positions = queue(table, wanted, known)
        place = np.full(len(table), -1, dtype=np.int32)
        place[positions] = np.arange(len(positions), dtype=np.int32)
        decided = np.zeros(len(table), dtype=bool)
        decided[list(known)] = True
        start = int(np.argmin(decided[positions])) if len(positions) else 0
        token = hashlib.sha256(name.encode() + positions.tobytes()).hexdigest()[:32]
        kept = (name, Frozen(positions, place, token, start))
        st.session_state["review_queue"] = kept
    return kept[1]


def shown_positions() -> NDArray[np.int32]:
    """Return the positions of the score table that the gallery goes through now, in its order."""
    kept: tuple[str, Frozen] | None = st.session_state.get("review_queue")
    return np.zeros(0, np.int32) if kept is None else kept[1].positions
