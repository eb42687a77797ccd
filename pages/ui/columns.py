"""How many small charts fit beside each other on this person's page: the browser says so, Streamlit does not."""

from __future__ import annotations

import streamlit as st

from pages.ui.asset import asset

KEY = "page_columns"
PIXELS = 140
"""A chart is at least as wide, with the numbers beside it."""
USUAL = 6
"""What is taken until the browser has spoken: six fit beside each other on a page of 1366 pixels."""

_component = st.components.v2.component("fvm_columns", html="", js=asset("columns.js"))


def fitting(wanted: int) -> int:
    """Return how many of `wanted` columns fit, at least one."""
    sent = (st.session_state.get(KEY) or {}).get("columns")
    if isinstance(sent, int) and 1 <= sent <= 100:
        st.session_state[f"{KEY}_kept"] = sent
    return max(1, min(wanted, st.session_state.get(f"{KEY}_kept", USUAL)))


def ask(wanted: int) -> None:
    """Let the browser say when another number than `fitting` told fits; drawn at a page's end: it has a gap."""
    _component(
        key=KEY, data={"most": max(wanted, 1), "columns": fitting(wanted), "pixels": PIXELS},
        on_columns_change=lambda: None,
    )  # fmt: skip
