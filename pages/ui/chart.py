"""A chart as every page shows it: plotly with an SVG button, and the numbers behind it as CSV."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from fvm_core.data.spreadsheet import csv_text
from pages.ui.figure_look import dress

Table = pd.DataFrame | Callable[[], pd.DataFrame]
"""A table, or what makes it when somebody asks for it."""


def draw(figure: go.Figure, *, name: str, data: Table, alt: str) -> None:
    """Draw `figure`; `name` is the key and the name of its files, `alt` says in words what it shows."""
    st.plotly_chart(dress(figure), key=f"chart_{name}", config=bar(name), alt=alt, theme=None)
    csv_button(data, name=name)


def bar(name: str, *, picture: str = "svg", scale: int = 1) -> dict[str, Any]:
    """Return plotly's configuration of the bar over a chart: its camera saves NAME.PICTURE, `scale` times as large."""
    return {
        "displaylogo": False,
        "toImageButtonOptions": {"format": picture, "filename": name, "scale": scale},
        "modeBarButtonsToRemove": ["select2d", "lasso2d", "autoScale2d", "zoomIn2d", "zoomOut2d"],
    }


def csv_button(data: Table, *, name: str, label: str = "Data as CSV") -> None:
    """Draw a small button that downloads `data`, safe for spreadsheets; the text is made when it is pressed."""

    def made() -> bytes:
        return csv_text(data() if callable(data) else data).encode()

    st.download_button(
        label, data=made, file_name=f"{name}.csv", mime="text/csv", key=f"csv_{name}", icon=":material/download:",
        type="tertiary", on_click="ignore",
    )  # fmt: skip
