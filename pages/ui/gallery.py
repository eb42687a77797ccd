"""The review gallery as one Streamlit component: what goes to the browser and how its log comes back.

The browser keeps a numbered log of key presses and sends all of it that is not acknowledged; see assets/gallery_log.js.
Decisions are committed first, then the component is told their numbers.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
import streamlit as st
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.ids import IdIndex
from fvm_core.errors import FVMError
from fvm_core.influence.methods import METHODS
from fvm_core.review.inbox import Known, Receipt, receive
from fvm_core.review.log import DecisionLog
from fvm_core.review.replay import View
from fvm_core.review.score_rows import ScoreRows
from fvm_core.review.session import ReviewSession
from fvm_core.review.steps import MOST_AT_ONCE, last_steps, recent_classes, step_of
from fvm_core.review.support import Bars, LabelScores, caption
from pages.ui.asset import asset
from pages.ui.gallery_keys import bindings
from pages.ui.gallery_zoom import close_up
from pages.ui.review_filters import Frozen
from pages.ui.review_selection import note_page
from pages.ui.reviewer import mark
from pages.ui.score_sets import FileKey
from pages.ui.thumbnails import thumbnail

KEY = "review_gallery"
PARTS = (
    "log", "draw", "card", "deck", "select", "overlay", "keys", "help", "picker", "zoom", "detail", "head", "pages",
    "decide", "input",
)  # fmt: skip
SCRIPTS = (*(f"gallery_{part}.js" for part in PARTS), "gallery.js")
HISTORY = 200
RECENT = 5
MOST_PAGES = 12


_component = st.components.v2.component("fvm_review_gallery", html="", css=asset("gallery.css"), js=asset(*SCRIPTS))


@dataclass(frozen=True)
class Shown:
    """One queue as the gallery shows it: `index` finds the ids of the dataset, `table` is the score file `key`, `order`
    what is shown and when."""

    dataset: LabeledImages
    index: IdIndex
    table: ScoreRows
    key: FileKey
    run: str
    method: str
    order: Frozen
    page_size: int

    @property
    def last_page(self) -> int:
        return max(-(-len(self.order.positions) // self.page_size) - 1, 0)

    def on_page(self, page: int) -> NDArray[np.int32]:
        return self.order.positions[page * self.page_size : (page + 1) * self.page_size]

    def places(self, samples: Sequence[str]) -> list[int]:
        """Return where each sample stands in the queue, -1 for one that is not in it."""
        if not samples or not len(self.table):
            return [-1] * len(samples)
        positions = self.table.positions(self.index.find(samples))
        return np.where(positions >= 0, self.order.place[positions], -1).tolist()

    def ids(self, positions: NDArray[np.int32]) -> list[str]:
        return self.dataset.ids[self.table.rows[positions]].tolist()


def gallery(log: DecisionLog, session: ReviewSession, shown: Shown, known: Known, *, reviewer: str) -> None:
    """Write what the browser sent since the last run, then draw the gallery with the state that is on disk."""
    state = st.session_state.get(KEY) or {}
    sent = state.get("sent")
    receipt, problem = Receipt(), ""
    try:
        receipt = receive(log, session.id, sent, known, reviewer=reviewer, mark=mark(session, reviewer))
    except FVMError as error:
        problem = str(error)
    replay = log.replay(session.id).seen_by(reviewer, log.assignments(session.id).blind)
    if not isinstance(sent, Mapping):
        sent = {}
    data = _data(session, shown, sent, receipt, problem, replay) | {
        "reviewer": mark(session, reviewer),
        "bindings": bindings(log, state.get("keys"), reviewer=reviewer),
        "closeUp": close_up(state.get("zoomed"), sent.get("view"), shown.dataset, shown.index),
    }
    _component(
        key=KEY, data=data, on_sent_change=_pass, on_asked_change=_pass, on_keys_change=_pass, on_zoomed_change=_pass
    )


def _pass() -> None:
    """A state that the browser sets has to have a callback; all of them are read above."""


def asked() -> str | None:
    """Return the id of the image that the person wants explained, as the browser has it; None before any."""
    value = (st.session_state.get(KEY) or {}).get("asked")
    return value["id"] if isinstance(value, Mapping) and isinstance(value.get("id"), str) else None


def _data(
    session: ReviewSession, shown: Shown, sent: Mapping[str, Any], receipt: Receipt, problem: str, replay: View
) -> dict[str, Any]:
    page, have = _view(sent, shown)
    note_page(shown.ids(shown.on_page(page)), shown.dataset.fingerprint)
    # A new queue gets the page in view alone; the browser then asks for the one after it.
    window = {page, min(page + 1, shown.last_page)} if have else {page}
    counts = replay.counts(len(shown.dataset))
    states = replay.states()
    own = replay.history(HISTORY + MOST_AT_ONCE)
    undoable = last_steps(own, most=HISTORY)
    history = [decision.sample for decision in undoable]
    told = [sample for number in sorted(window | have) for sample in shown.ids(shown.on_page(number))]
    return {
        "session": session.id,
        "client": sent.get("client"),
        "echo": sent.get("echo", 0),
        "acked": dict(receipt.acked),
        "refused": dict(receipt.refused),
        "problem": problem,
        "queue": shown.order.token,
        "total": len(shown.order.positions),
        "pageSize": shown.page_size,
        "position": shown.order.start,
        "empty": "No image meets these filters. Loosen them, or refresh the queue.",
        "classes": list(shown.dataset.class_names),
        "keys": number_keys(shown.dataset.class_names),
        "run": f"{shown.run}/{shown.method}",
        "suspicious": METHODS[shown.method].suspicious,
        "caption": caption(shown.method),
        "pages": {str(number): _items(shown, shown.order.token, number) for number in sorted(window - have)},
        "states": {sample: [states[sample].action, states[sample].label] for sample in told if sample in states},
        "history": list(zip(history, shown.places(history), (step_of(d.client) for d in undoable), strict=True)),
        "recent": recent_classes(own, most=RECENT),
        "counts": {
            "decided": counts.decided,
            "left": len(shown.order.positions) - sum(place >= 0 for place in shown.places(list(states))),
            "changed": sum(decision.label != decision.given for decision in states.values()),
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
    view, last = sent.get("view"), shown.last_page
    if not isinstance(view, Mapping) or view.get("queue") != shown.order.token or not isinstance(view.get("page"), int):
        return min(shown.order.start // shown.page_size, last), set()
    have = view.get("have")
    numbers = have[:MOST_PAGES] if isinstance(have, list) else []
    held = {number for number in numbers if isinstance(number, int) and 0 <= number <= last}
    return min(max(view["page"], 0), last), held


@st.cache_data(show_spinner=False, max_entries=64)
def _items(_shown: Shown, token: str, page: int) -> list[dict[str, Any]]:
    positions, table = _shown.on_page(page), _shown.table
    places = table.rows[positions]
    with ThreadPoolExecutor(1) as other:  # score file and images are read side by side
        reading = other.submit(_label_scores(_shown.key).named, positions, _shown.method)
        there = (places >= 0) & (places < len(_shown.dataset))
        thumbnails = [
            thumbnail(_shown.dataset, int(place)) if inside else ("", "")
            for place, inside in zip(places, there, strict=True)
        ]
        named = reading.result()
    columns = (column[positions] for column in (table.labels, table.suggested, table.scores))
    items = []
    for (sample, bar), given, suggested, score, place, inside, (uri, problem) in zip(
        named, *columns, places, there, thumbnails, strict=True
    ):
        if not (inside and _shown.dataset.ids[place] == sample):
            uri, problem = "", "not in the dataset"
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


@st.cache_resource(show_spinner=False, max_entries=8)
def _label_scores(key: FileKey) -> LabelScores:
    return LabelScores(key[0])


def _bars(bars: Bars | None) -> dict[str, Any] | None:
    if bars is None:
        return None
    return {
        "scores": [float(str(value)) if np.isfinite(value) else None for value in bars.scores],
        "exact": bars.exact.tolist(),
        "lengths": bars.lengths.round(4).tolist(),
    }
