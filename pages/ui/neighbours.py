"""The most alike images of a dataset under a model, read once for all pages."""

from __future__ import annotations

from pathlib import Path

import streamlit as st

from fvm_core.embedding.store import NeighbourTable, read_neighbours
from pages.ui.score_sets import FileKey


@st.cache_resource(max_entries=2, show_spinner="Reading the neighbours …")
def neighbour_table(key: FileKey) -> NeighbourTable:
    """Return the neighbours in a file (its path and time). Raises DataError when it is damaged."""
    return read_neighbours(Path(key[0]))
