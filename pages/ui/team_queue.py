"""The part of a queue that is one reviewer's to look at."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fvm_core.provenance import digest
from fvm_core.review.assignments import Assignments
from pages.ui.review_filters import Frozen


def own_share(
    order: Frozen,
    given: Assignments,
    reviewer: str,
    decided: Collection[str],
    ids: Callable[[NDArray[np.integer]], Sequence[str]],
) -> Frozen:
    """Return `order` without what is assigned to others (`Assignments.wanted`); the same one where nothing is.

    `ids` tells the ids of positions, `decided` the ids that the reviewer has seen decided. It stays until `order`, the
    reviewer or the assignments change. O(length of the queue) once.
    """
    if not given.assigned:
        return order
    token = digest([order.token, reviewer, given.last])[:32]
    kept: Frozen | None = st.session_state.get("review_own_share")
    if kept is None or kept.token != token:
        samples = ids(order.positions)
        wanted = given.wanted(reviewer, samples, decided=decided)
        positions = order.positions[np.asarray(wanted, dtype=bool)]
        place = np.full_like(order.place, -1)
        place[positions] = np.arange(len(positions))
        mine = [sample for sample, is_mine in zip(samples, wanted or [], strict=True) if is_mine]
        start = next((at for at, sample in enumerate(mine) if sample not in decided), 0)
        kept = st.session_state["review_own_share"] = Frozen(positions, place, token, start)
    return kept
