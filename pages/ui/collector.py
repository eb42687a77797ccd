"""Python's garbage collector looks at what the pages make, not at what imports have made."""

from __future__ import annotations

import gc
import sys

import streamlit as st


def leave_out_modules() -> None:
    """Tell the collector to pass over all that exists, if modules were imported since it was last told.

    Streamlit collects after each run, which keeps memory low but goes through every object of every module: half a
    million of them, for a tenth of a second in which no answer leaves the server. Call it first in each run.
    """
    _leave_out(len(sys.modules))


@st.cache_resource(show_spinner=False)
def _leave_out(modules: int) -> None:
    gc.freeze()
