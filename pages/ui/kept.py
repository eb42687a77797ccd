"""Values of widgets that come and go with a tab. Streamlit forgets such a value in the browser and not always on the
server: the slider then stands elsewhere than the table below it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st


def kept(key: str, options: Collection[Any], default: Any) -> str:
    """Return `key` for a widget that is to be drawn with `persist_state="session"` and without a default.

    Its value is the one it had last in this session; `default` before any, where that is no option any more, and where
    nobody changed the default that it had.
    """
    state, default_then = st.session_state, f"{key}_default"
    if key not in state or state[key] not in options or state[key] == state.get(default_then, default):
        state[key] = default
    state[default_then] = default
    return key
