"""Values of widgets that come and go with a tab. Streamlit forgets such a value in the browser and not always on the
server: the slider then stands elsewhere than the table below it."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

import streamlit as st


def kept(key: str, options: Collection[Any], default: Any) -> str:
    """Return `key` for a widget that is to be drawn with `persist_state="session"` and without a default.

    Its value is the one it had last in this session; `default` before any, and where that is no option any more.
    """
    if key not in st.session_state or st.session_state[key] not in options:
        st.session_state[key] = default
    return key
