"""Images picked on another page become the queue of the Review page, until the person lets go of them.

`st.session_state["review_selection"]` is the list of ids, `review_selection_origin` says where they come from,
`review_selection_of` is the fingerprint of their dataset.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import streamlit as st

from pages.ui.links import PAGES
from pages.ui.text import plain

IDS, ORIGIN, OF, PAGE = "review_selection", "review_selection_origin", "review_selection_of", "review_page_ids"
NO_FILTER: Mapping[str, Any] = {
    "review_state": "all", "review_given": [], "review_suggested": [], "review_search": "", "review_top": None,
    "review_low": None, "review_high": None,
}  # fmt: skip


def review(ids: Iterable[str], *, origin: str, fingerprint: str) -> None:
    """Go to the Review page with exactly these images as its queue; its other filters are taken off."""
    st.session_state[IDS] = [str(one) for one in ids]
    st.session_state[ORIGIN], st.session_state[OF] = origin, fingerprint
    st.session_state.update(NO_FILTER)
    st.switch_page(PAGES["review"].path)


def clear() -> None:
    """Let go of the selection: the Review page shows all images again."""
    for key in (IDS, ORIGIN, OF):
        st.session_state.pop(key, None)


def chosen(fingerprint: str) -> tuple[str, ...]:
    """Draw the chip with a way to clear it, and return the ids; () and nothing drawn without a selection of this
    dataset."""
    ids = st.session_state.get(IDS)
    if not ids or st.session_state.get(OF) != fingerprint:
        return ()
    with st.container(horizontal=True, vertical_alignment="center", gap="small", key="review_selection_chip"):
        many = "1 image" if len(ids) == 1 else f"{len(ids):,} images"
        st.badge(
            f"Selection of {many} from {plain(st.session_state.get(ORIGIN, 'another page'))}",
            icon=":material/lasso_select:", color="blue",
        )  # fmt: skip
        st.button("clear", key="review_selection_clear", type="tertiary", icon=":material/close:", on_click=clear)
    return tuple(ids)


def note_page(ids: Sequence[str], fingerprint: str) -> None:
    """Keep which images the Review page shows, for the map."""
    st.session_state[PAGE] = (fingerprint, list(ids))


def page_ids(fingerprint: str) -> list[str]:
    """Return the images that the Review page showed last, if they are of this dataset."""
    kept = st.session_state.get(PAGE)
    return list(kept[1]) if kept and kept[0] == fingerprint else []
