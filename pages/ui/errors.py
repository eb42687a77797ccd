"""An error a person can act on becomes `st.error` with its remedy; any other keeps its traceback in the terminal."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import streamlit as st

from fvm_core.errors import FVMError
from pages.ui.text import message


@contextmanager
def shown(*, stop: bool = True) -> Iterator[None]:
    """Show an FVMError raised inside, then stop the page there (`stop=False`: go on after the block)."""
    try:
        yield
    except FVMError as error:
        st.error(message(error), icon=":material/error:")
        if stop:
            st.stop()
