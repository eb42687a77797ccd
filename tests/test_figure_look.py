"""The look of charts: ours, once, without a template that a browser would make anew."""

from __future__ import annotations

import re

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from pages.ui.figure_look import INK, INK_RULE, dress
from pages.ui.theme import QUIET


def test_dress_leaves_no_template_and_keeps_what_the_figure_asked_for() -> None:
    figure = make_subplots(rows=1, cols=2)
    figure.add_scatter(x=[1], y=[2])
    figure.update_xaxes(showgrid=True, title_text="k", row=1, col=1)
    sent = dress(figure).to_plotly_json()["layout"]
    assert "template" not in sent and sent["font"]["color"] == INK
    assert sent["xaxis"]["showgrid"] is True and sent["xaxis2"]["showgrid"] is False
    assert sent["xaxis"]["title"]["text"] == "k" and "showgrid" not in sent["yaxis"]


def test_dress_is_done_once() -> None:
    figure = dress(go.Figure())
    figure.layout.font.size = 30
    assert dress(figure).layout.font.size == 30


def test_the_rule_on_every_page_finds_the_ink_as_a_browser_writes_it() -> None:
    red, green, blue = (int(INK[at : at + 2], 16) for at in (1, 3, 5))
    assert f"fill: rgb({red}, {green}, {blue})" in INK_RULE and INK_RULE in QUIET
    assert re.fullmatch(r"<style>.*</style>", QUIET, re.DOTALL) and QUIET.count("{") == QUIET.count("}")


def test_the_bar_over_a_chart_has_its_own_strip_above_it_and_no_slab() -> None:
    legend = {"orientation": "h"}
    for showlegend, least in ((False, 20), (True, 30)):
        figure = go.Figure(layout={"height": 400, "margin": {"t": 40}, "legend": legend, "showlegend": showlegend})
        layout = dress(figure).layout
        assert layout.margin.t - 40 == layout.height - 400 >= least, "the chart itself stays as high as it was"
        assert layout.modebar.bgcolor == "rgba(0,0,0,0)"
        assert {layout.modebar.color, layout.modebar.activecolor} == {"#767676", "#0072B2"}
