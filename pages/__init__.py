"""Streamlit pages: each reads widgets, calls `fvm_core`, draws. No torch here (tests/test_architecture.py holds it).

Streamlit takes a folder of this name for the pages of an older scheme until `st.navigation` was called once: the first
visit after a start would run a page alone, without app.py, if it went straight to a page's address. Importing this
package puts an end to it: that first run starts over, through app.py.
"""

from __future__ import annotations

import streamlit as st
from streamlit.runtime.pages_manager import PagesManager

if getattr(PagesManager, "uses_pages_directory", False):
    PagesManager.uses_pages_directory = False
    st.rerun()
