"""The map as one Streamlit component: what goes to the browser, and which points come back as selected.

`st.plotly_chart(on_select=...)` lost selections in a browser and sends every point anew at each of them; here the
browser keeps a numbered selection, one bit a point, and the number tells an echo from news.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from pages.ui.asset import asset
from pages.ui.map_colours import STATE_WORDS
from pages.ui.map_points import Points

KEY = "image_map"
STATE = "map_selection"
SCRIPTS = ("map_paint.js", "map_shapes.js", "map.js")


_component = st.components.v2.component("fvm_image_map", html="", css=asset("map.css"), js=asset(*SCRIPTS))


@dataclass(frozen=True)
class Selected:
    """`places` (k,) ascending positions among the points that `token` names; `client` and `number` say who said so."""

    token: str = ""
    places: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    client: str = ""
    number: int = 0


def selection(points: Points) -> Selected:
    """Return what is selected, with what the browser said since the last run."""
    kept = st.session_state.get(STATE, Selected())
    if kept.token != points.token:
        kept = Selected(points.token)
    sent = (st.session_state.get(KEY) or {}).get("picked")
    heard = _heard(sent, points)
    if heard is not None and (heard.client, heard.number) != (kept.client, kept.number):
        kept = heard
    st.session_state[STATE] = kept
    return kept


def _heard(sent: Any, points: Points) -> Selected | None:
    """Return the browser's selection, None if there is none or it is not of these points: its word is checked."""
    if not isinstance(sent, Mapping) or sent.get("token") != points.token:
        return None
    client, number, mask = sent.get("client"), sent.get("number"), sent.get("mask")
    if not isinstance(client, str) or not isinstance(number, int) or not isinstance(mask, str):
        return None
    places = unpacked(mask, len(points))
    return None if places is None else Selected(points.token, places, client[:40], number)


def packed(places: NDArray[np.int64], count: int) -> str:
    """Return a selection among `count` points as base64 of one bit a point, the first in the lowest bit.

    >>> packed(np.array([0, 9]), 12), unpacked("AQI=", 12).tolist()
    ('AQI=', [0, 9])
    """
    flags = np.zeros(count, np.uint8)
    flags[places] = 1
    return base64.b64encode(np.packbits(flags, bitorder="little").tobytes()).decode()


def unpacked(mask: str, count: int) -> NDArray[np.int64] | None:
    """Return the positions in a selection of `packed`, None if it is not one of `count` points."""
    try:
        data = np.frombuffer(base64.b64decode(mask, validate=True), np.uint8)
    except (binascii.Error, ValueError):
        return None
    if len(data) != -(-count // 8):
        return None
    return np.flatnonzero(np.unpackbits(data, bitorder="little")[:count]).astype(np.int64)


def plot(
    points: Points, positions: NDArray[np.float32], colours: NDArray[np.uint8], legend: Mapping[str, Any],
    states: NDArray[np.int16], names: Sequence[str], chosen: Selected, marks: Sequence[int],
) -> None:  # fmt: skip
    """Draw the map. `marks`: positions of points that get a ring."""
    _component(
        key=KEY, data={**_fixed(points, points.token), "positions": _text(positions), "colours": _text(colours),
        "legend": dict(legend), "state": _text(states), "classes": list(names), "states": list(STATE_WORDS),
        "marks": [int(one) for one in marks], "words": "Lasso and box select; the images are listed below the map.",
        "selection": {
            "client": chosen.client, "number": chosen.number, "mask": packed(chosen.places, len(points)),
        }}, on_picked_change=lambda: None,
    )  # fmt: skip


@st.cache_resource(max_entries=4, show_spinner=False)
def _fixed(_points: Points, token: str) -> dict[str, Any]:
    """Return what does not change while the same images are shown."""
    return {
        "token": token, "ids": _points.ids.tolist(), "given": _text(_points.given),
        "suggested": _text(_points.suggested), "truth": _text(_points.truth), "percentile": _text(_points.percentile),
    }  # fmt: skip


def _text(values: NDArray[Any]) -> str:
    return base64.b64encode(np.ascontiguousarray(values).tobytes()).decode()
