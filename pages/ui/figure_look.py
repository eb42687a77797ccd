"""The look of a chart without Streamlit's own: letters as large as the page's, in the ink of the page's theme."""

from __future__ import annotations

import plotly.graph_objects as go

INK = "#3a424e"
"""Of every letter without a colour of its own. On a page INK_RULE gives it the page's ink, so that light and dark both
fit; in a saved picture it stays, dark on a ground that is transparent."""
INK_RULE = """[data-testid="stPlotlyChart"] text[style*="fill: rgb(58, 66, 78)"] {
  fill: color-mix(in srgb, currentColor 82%, transparent) !important;
}"""
FONT = '"Source Sans", sans-serif'
SIZE, TITLE_SIZE = 12.75, 14.875
PAPER, FAINT = "#fdfcf9", "rgba(128,128,128,0.22)"
BAR = {"bgcolor": "rgba(0,0,0,0)", "color": "#767676", "activecolor": "#0072B2"}
"""Of the bar over a chart, legible on the paper of both themes; plotly's own is a grey slab on a transparent chart."""
BAR_ROOM, BAR_ROOM_BY_LEGEND = 24, 34
"""Pixels above a chart that the bar has for itself, so that it lies on no title; more where a legend is above, which
has two lines on a narrow page."""
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#E69F00", "#56B4E9", "#CC79A7", "#767676"]


def dress(figure: go.Figure) -> go.Figure:
    """Give `figure` that look, once. Draw it with `theme=None`.

    Streamlit's look is a template, which the browser makes anew right after the first drawing; plotly takes it for
    another one and draws everything a second time.
    """
    layout = figure.layout
    if layout.font.color == INK:
        return figure
    layout.template = None
    layout.font = {"family": FONT, "size": SIZE, "color": INK}
    layout.colorway = COLOURS
    layout.margin.pad = 8
    layout.modebar = BAR
    if layout.height and layout.margin.t is not None:
        room = BAR_ROOM_BY_LEGEND if layout.showlegend and layout.legend.orientation == "h" else BAR_ROOM
        layout.update(height=layout.height + room, margin_t=layout.margin.t + room)
    layout.hoverlabel.update(bgcolor=INK, bordercolor=INK, font={"color": PAPER})
    for axes, standoff in ((figure.select_xaxes(), 21), (figure.select_yaxes(), 25)):
        for axis in axes:
            axis.title.update(font={"size": TITLE_SIZE}, standoff=standoff)
            axis.tickcolor = FAINT
    for axis in figure.select_xaxes():
        axis.showgrid = bool(axis.showgrid)
    return figure
