"""The numbers of a chart: plain lists, and a revision that changes when they do."""

from __future__ import annotations

import json

import numpy as np
import plotly.graph_objects as go

from pages.ui.figure_data import settle, short


def figure(last: float = 3.0) -> go.Figure:
    made = go.Figure()
    y = np.array([1 / 3, np.nan, np.inf, last])
    error = {"type": "data", "array": np.array([0.1, 0.2, 0.3, 0.4])}
    made.add_scatter(x=np.arange(4), y=y, customdata=np.ones((4, 2)), error_y=error)
    made.add_bar(x=["a", "b"], y=(1, 2))
    return made


def test_settle_sends_lists_that_plotly_can_compare() -> None:
    sent = json.loads(settle(figure()).to_json())
    line, bars = sent["data"]
    assert line["x"] == [0, 1, 2, 3] and line["y"] == [0.3333333, None, None, 3.0]
    assert line["error_y"]["array"] == [0.1, 0.2, 0.3, 0.4] and line["customdata"] == [[1.0, 1.0]] * 4
    assert bars["x"] == ["a", "b"] and bars["y"] == [1, 2]
    assert "bdata" not in json.dumps(sent["data"])


def test_settle_gives_a_revision_of_the_numbers() -> None:
    one, same, other = (settle(figure(last)).layout.datarevision for last in (3.0, 3.0, 4.0))
    assert one == same != other
    assert settle(go.Figure()).layout.datarevision


def test_short_keeps_seven_digits_at_any_size() -> None:
    random = np.random.default_rng(0)
    numbers = random.normal(size=(3, 50)) * 10.0 ** random.integers(-200, 200, (3, 50))
    assert np.allclose(short(numbers), numbers, rtol=5e-7, atol=0)
