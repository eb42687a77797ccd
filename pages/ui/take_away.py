"""A chart to take away: picture by the camera in its bar (PNG or SVG), HTML that works offline, numbers as CSV."""

from __future__ import annotations

import pandas as pd
import plotly.graph_objects as go
import streamlit as st

from pages.ui import chart

LARGE, PICTURE = "learn_large", "learn_picture"
FORMATS = ("png", "svg")
BIG_TYPE = """<style>html {font-size: 23px !important;}
[data-testid="stMainBlockContainer"] {max-width: none;}</style>"""


def choices() -> None:
    """Draw the switch to large type (for a projector) and the format of pictures; both hold for the whole page."""
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        large = st.toggle(
            "Large type", key=LARGE, help="For a projector: text and charts grow", persist_state="session"
        )
        st.segmented_control(
            "Pictures as", FORMATS, default="png", required=True, key=PICTURE, format_func=str.upper,
            help="What the camera in a chart's bar saves", label_visibility="collapsed", width="content",
        )  # fmt: skip
        st.caption("Point at a chart: the camera saves it as a picture.", width="content")
    if large:
        st.html(BIG_TYPE)


def draw(figure: go.Figure, *, name: str, data: pd.DataFrame, alt: str) -> None:
    """Draw `figure`; `name` is its key and names the files, `data` is behind it, `alt` says in words what it shows."""
    large = bool(st.session_state.get(LARGE))
    size = 20 if large else 14
    figure.update_layout(font_size=size, legend_font_size=size).update_annotations(font_size=size)
    figure.update_xaxes(tickfont_size=size - 1, title_font_size=size)
    figure.update_yaxes(tickfont_size=size - 1, title_font_size=size)
    if large and figure.layout.height:
        figure.update_layout(height=round(1.25 * figure.layout.height))
    picture = st.session_state.get(PICTURE) or "png"
    # A key of its own for each format: a chart that is there already would keep its old configuration.
    st.plotly_chart(figure, key=f"learn_{name}_{picture}", config=chart.bar(name, picture=picture, scale=2), alt=alt)
    with st.container(horizontal=True, gap="small"):
        st.download_button(
            "Chart as HTML", data=lambda: as_html(figure, title=alt), file_name=f"{name}.html", mime="text/html",
            key=f"learn_html_{name}", icon=":material/code:", type="tertiary", on_click="ignore",
        )  # fmt: skip
        chart.csv_button(data, name=name)


def as_html(figure: go.Figure, *, title: str) -> bytes:
    """Return a page of its own with the chart, dark on white, and plotly.js inside: it needs no network."""
    copy = go.Figure(figure)
    copy.update_layout(template="plotly_white", paper_bgcolor="white", plot_bgcolor="white", title={"text": title})
    return copy.to_html(include_plotlyjs=True, full_html=True).encode()
