"""The review gallery as one Streamlit component: what goes to the browser and how its log comes back.

The browser keeps a numbered log of key presses and sends all of it that is not acknowledged; see assets/gallery_log.js.
Decisions are committed first, then the component is told their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import FVMError
from fvm_core.influence.methods import METHODS
from fvm_core.review.inbox import Known, Receipt, receive
from fvm_core.review.log import DecisionLog
from fvm_core.review.replay import Replay
from fvm_core.review.session import ReviewSession
from fvm_core.review.support import Bars, LabelScores, caption
from pages.ui.links import ROOT
from pages.ui.thumbnails import thumbnail

KEY = "review_gallery"
SCRIPTS = ("gallery_log.js", "gallery_draw.js", "gallery.js")
HISTORY = 200
MOST_PAGES = 12


def _asset(name: str) -> str:
    return (ROOT / "assets" / name).read_text(encoding="utf-8")


_component = st.components.v2.component(
    "fvm_review_gallery", html="", css=_asset("gallery.css"), js="\n".join(_asset(name) for name in SCRIPTS)
)


@dataclass(frozen=True)
class Shown:
    """One queue as the gallery shows it. `frame` is the score table, `positions` the rows of it in order, `token`
    changes whenever the order does, `start` is the place of the first undecided sample (0 if none)."""

    dataset: LabeledImages
    index_of: Mapping[str, int]
    frame: pd.DataFrame
    path: str
    run: str
    method: str
    positions: NDArray[np.int64]
    token: str
    start: int
    page_size: int


def gallery(log: DecisionLog, session: ReviewSession, shown: Shown, known: Known, *, reviewer: str) -> None:
    """Write what the browser sent since the last run, then draw the gallery with the state that is on disk."""
    sent = (st.session_state.get(KEY) or {}).get("sent")
    receipt, problem = Receipt(), ""
    try:
        receipt = receive(log, session.id, sent, known, reviewer=reviewer)
    except FVMError as error:
        problem = str(error)
    replay = log.replay(session.id)
    _component(key=KEY, data=_data(session, shown, sent or {}, receipt, problem, replay), on_sent_change=lambda: None)


def _data(
    session: ReviewSession, shown: Shown, sent: Mapping[str, Any], receipt: Receipt, problem: str, replay: Replay
) -> dict[str, Any]:
    page, have = _view(sent, shown)
    last = max(-(-len(shown.positions) // shown.page_size) - 1, 0)
    window = {page, min(page + 1, last)}
    told = window | have
    counts = replay.counts(len(shown.dataset))
    ids = shown.frame["id"].to_numpy()
    place = {ids[row]: at for at, row in enumerate(shown.positions)} if len(replay.states()) else {}
    return {
        "session": session.id,
        "client": sent.get("client"),
        "echo": sent.get("echo", 0),
        "acked": dict(receipt.acked),
        "refused": dict(receipt.refused),
        "problem": problem,
        "queue": shown.token,
        "total": len(shown.positions),
        "pageSize": shown.page_size,
        "position": shown.start,
        "empty": "No image meets these filters. Loosen them, or refresh the queue.",
        "classes": list(shown.dataset.class_names),
        "keys": number_keys(shown.dataset.class_names),
        "run": f"{shown.run}/{shown.method}",
        "suspicious": METHODS[shown.method].suspicious,
        "caption": caption(shown.method),
        "pages": {str(number): _page(shown, number) for number in sorted(window - have)} if len(ids) else {},
        "states": _states(replay, [ids[row] for number in told for row in _rows(shown, number)]),
        "history": [[decision.sample, place.get(decision.sample, -1)] for decision in replay.history(HISTORY)],
        "counts": {
            "decided": counts.decided,
            "left": len(shown.positions) - sum(sample in place for sample in replay.states()),
            "changed": sum(d.label not in (None, d.given) for d in replay.states().values()),
            "rate": counts.accept_rate,
        },
    }


def number_keys(names: Iterable[str]) -> dict[str, int] | None:
    """Return which class each number key picks: digits their own, else 1 to 9 and 0 in class order; None above ten
    classes (the keys then pick by rank).

    >>> number_keys(["cat", "dog"]), number_keys(["7", "8"]), number_keys(str(k) for k in range(11))
    ({'1': 0, '2': 1}, {'7': 0, '8': 1}, None)
    """
    names = list(names)
    if len(names) > 10:
        return None
    if all(len(name) == 1 and name in "0123456789" for name in names):
        return {name: label for label, name in enumerate(names)}
    return {str((label + 1) % 10): label for label in range(len(names))}


def _view(sent: Mapping[str, Any], shown: Shown) -> tuple[int, set[int]]:
    """Return the page in view and the pages that the browser holds; its word is checked, not trusted."""
    view = sent.get("view")
    last = max(-(-len(shown.positions) // shown.page_size) - 1, 0)
    if not isinstance(view, Mapping) or view.get("queue") != shown.token or not isinstance(view.get("page"), int):
        return min(shown.start // shown.page_size, last), set()
    have = view.get("have")
    numbers = have[:MOST_PAGES] if isinstance(have, list) else []
    held = {number for number in numbers if isinstance(number, int) and 0 <= number <= last}
    return min(max(view["page"], 0), last), held


def _rows(shown: Shown, page: int) -> NDArray[np.int64]:
    return shown.positions[page * shown.page_size : (page + 1) * shown.page_size]


def _states(replay: Replay, samples: Iterable[str]) -> dict[str, list[Any]]:
    found = ((sample, replay.state(sample)) for sample in samples)
    return {sample: [state.action, state.label] for sample, state in found if state is not None}


def _page(shown: Shown, page: int) -> list[dict[str, Any]]:
    return _items(shown, shown.token, page)


@st.cache_data(show_spinner=False, max_entries=64)
def _items(_shown: Shown, token: str, page: int) -> list[dict[str, Any]]:
    rows = _rows(_shown, page)
    bars = LabelScores(_shown.path).read(rows, _shown.method)
    table = _shown.frame.iloc[rows]
    columns = (table[name].to_numpy() for name in ("id", "label", "suggested", "score"))
    items = []
    for (sample, given, suggested, score), bar in zip(zip(*columns, strict=True), bars, strict=True):
        uri, problem = thumbnail(_shown.dataset, _shown.index_of[sample])
        items.append(
            {
                "id": str(sample),
                "given": int(given),
                "suggested": int(suggested),
                "score": float(score) if np.isfinite(score) else None,
                "thumb": uri,
                "problem": problem,
                "bars": _bars(bar),
            }
        )
    return items


def _bars(bars: Bars | None) -> dict[str, Any] | None:
    if bars is None:
        return None
    return {
        "scores": [float(str(value)) if np.isfinite(value) else None for value in bars.scores],
        "exact": bars.exact.tolist(),
        "lengths": bars.lengths.round(4).tolist(),
    }
