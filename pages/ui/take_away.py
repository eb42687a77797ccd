"""A chart to take away: picture by the camera in its bar (PNG or SVG), HTML that works offline, numbers as CSV."""

from __future__ import annotations

from dataclasses import dataclass

import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from streamlit.delta_generator import DeltaGenerator

from pages.ui import chart
from pages.ui.figures import faded

LARGE, PICTURE = "learn_large", "learn_picture"
FORMATS = ("png", "svg")
PAPER, INK = ("#FDFCF9", "#14181F"), ("#1C2430", "#E9E6DF")
"""The app's own colours, light and dark (.streamlit/config.toml), put into the figures: so a saved picture can be read
on any slide."""
BIG_TYPE = """<style>html {font-size: 23px !important;}
[data-testid="stMainBlockContainer"] {max-width: none;}</style>"""


@dataclass(frozen=True)
class Look:
    """How charts are drawn just now: in large type, and in the dark."""

    large: bool = False
    dark: bool = False

    def put_on(self, figure: go.Figure) -> go.Figure:
        """Give a figure the sizes and the paper of this look, in place, and return it."""
        size, paper, ink = 20 if self.large else 14, PAPER[self.dark], INK[self.dark]
        words, numbers = {"size": size, "color": ink}, {"size": size - 1, "color": ink}
        figure.update_layout(font=words, legend_font=words, paper_bgcolor=paper, plot_bgcolor=paper)
        figure.update_annotations(font=words)
        figure.update_xaxes(tickfont=numbers, title_font=words)
        figure.update_yaxes(tickfont=numbers, title_font=words)
        above = (figure.layout.margin.t or 0) + 1.2 * size
        bar = {"bgcolor": "rgba(0,0,0,0)", "color": faded(ink, 0.55), "activecolor": ink}
        figure.update_layout(margin_t=above, modebar=bar)  # the bar has this strip for itself
        if figure.layout.height:
            figure.update_layout(height=round((1.25 if self.large else 1) * figure.layout.height + 1.2 * size))
        return figure


def look() -> Look:
    """Return the look that this person has chosen."""
    return Look(bool(st.session_state.get(LARGE)), st.context.theme.type == "dark")


def choices() -> DeltaGenerator:
    """Draw the switch to large type (for a projector) and the format of pictures; both hold for the whole page. Returns
    their row, which has room for more."""
    row = st.container(horizontal=True, vertical_alignment="center", gap="medium")
    with row:
        large = st.toggle(
            "Large type", key=LARGE, help="For a projector: text and charts grow", persist_state="session"
        )
        st.segmented_control(
            "Pictures as", FORMATS, default="png", required=True, key=PICTURE, format_func=str.upper,
            help="What the camera in a chart's bar saves", label_visibility="collapsed", width="content",
        )  # fmt: skip
        st.caption("is what the camera over a chart saves", width="content")
    if large:
        st.html(BIG_TYPE)
    return row


def draw(figure: go.Figure, *, name: str, data: pd.DataFrame, alt: str, finished: bool = False) -> None:
    """Draw `figure`; `name` is its key and names the files, `data` is behind it, `alt` says in words what it shows.

    `finished`: the figure has its look already, and is shared, so it is left as it is.
    """
    if not finished:
        look().put_on(figure)
    picture = st.session_state.get(PICTURE) or "png"
    bar = chart.bar(name, picture=picture, scale=2) | {"displayModeBar": True}
    # A key of its own for each format: a chart that is there already would keep its old configuration.
    st.plotly_chart(figure, key=f"learn_{name}_{picture}", config=bar, alt=alt)
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
