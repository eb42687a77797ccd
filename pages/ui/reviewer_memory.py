"""A reviewer's name in the browser's own storage, so that a reload or a new tab does not ask for it again."""

from __future__ import annotations

import streamlit as st

from fvm_core.errors import ReviewError
from fvm_core.review.session import person
from pages.ui.asset import asset

KEY = "reviewer_memory"
_component = st.components.v2.component("fvm_reviewer_memory", html="", js=asset("reviewer.js"))


def keep(name: str) -> None:
    """Let the browser remember `name`; drawn where the page has nothing below."""
    _component(key=f"{KEY}_keep", data={"keep": name})


def remembered() -> str:
    """Return the name that the browser remembers, "" for none, and until the browser has answered, which runs the page
    again. What it sends is checked like a typed name."""
    _component(key=KEY, data={"keep": ""}, on_name_change=_pass)
    name = (st.session_state.get(KEY) or {}).get("name")
    try:
        return person(name) if isinstance(name, str) else ""
    except ReviewError:
        return ""


def _pass() -> None:
    """A state that the browser sets has to have a callback."""
