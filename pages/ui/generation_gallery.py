"""The review of pairs as a Streamlit component: what goes to the browser and how its log comes back.

As in `gallery`, the browser keeps a numbered log of key presses; verdicts are committed first, then it is told so.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.errors import FVMError
from fvm_core.generation.pair_review import RIGHT, WRONG
from fvm_core.review.inbox import Known, Receipt, receive
from fvm_core.review.keys import DEFAULT_KEYS, read_keys
from fvm_core.review.log import DecisionLog
from fvm_core.review.replay import View
from fvm_core.review.session import ReviewSession
from fvm_core.visible import visible
from pages.ui.asset import asset
from pages.ui.generation_pictures import picture
from pages.ui.reviewer import mark

KEY = "pair_review"
HISTORY = 200
MOST_TEXT = 4000


_component = st.components.v2.component(
    "fvm_pair_review",
    html="",
    css=asset("pair_review.css"),
    js=asset("gallery_draw.js", "gallery_log.js", "pair_review.js"),
)


@dataclass(frozen=True)
class PairQueue:
    """What is shown: rows of `frame` (training pairs of a run) in `order`, by the column `suspicion` of the run
    `name`; `ranks` is each row's place among all pairs, `token` tells one queue from another."""

    frame: pd.DataFrame
    order: NDArray[np.int64]
    ranks: NDArray[np.int64]
    suspicion: str
    name: str
    token: str
    root: str
    image: bool

    @property
    def run(self) -> str:
        return f"{self.name}/{self.suspicion}"


def gallery(log: DecisionLog, session: ReviewSession, queue: PairQueue, known: Known, *, reviewer: str) -> None:
    """Write what the browser sent since the last run, then draw the list with the state that is on disk."""
    sent = (st.session_state.get(KEY) or {}).get("sent")
    receipt, problem = Receipt(), ""
    try:
        receipt = receive(log, session.id, sent, known, reviewer=reviewer, mark=mark(session, reviewer))
    except FVMError as error:
        problem = str(error)
    view = log.replay(session.id).seen_by(reviewer, log.assignments(session.id).blind)
    try:
        keys = read_keys(log, reviewer)
    except FVMError:
        keys = dict(DEFAULT_KEYS)
    data = told(queue, view, sent if isinstance(sent, Mapping) else {}, receipt, problem) | {
        "session": session.id,
        "reviewer": mark(session, reviewer),
        "keys": {name: keys[name] for name in ("accept", "keep", "skip", "undo")},
    }
    _component(key=KEY, data=data, on_sent_change=_pass)


def _pass() -> None:
    """A state that the browser sets has to have a callback; it is read above."""


def told(queue: PairQueue, view: View, sent: Mapping[str, Any], receipt: Receipt, problem: str) -> dict[str, Any]:
    """Return what the browser is told: the pairs, what is on disk about them, and what came in."""
    states = view.states()
    ids = [str(queue.frame["id"].iloc[row]) for row in queue.order.tolist()]
    actions = [decision.action for decision in states.values()]
    wrong = sum(decision.label == WRONG and decision.action != "skip" for decision in states.values())
    right = sum(decision.label == RIGHT and decision.action != "skip" for decision in states.values())
    return {
        "client": sent.get("client"),
        "echo": sent.get("echo", 0),
        "acked": dict(receipt.acked),
        "refused": dict(receipt.refused),
        "problem": problem,
        "queue": queue.token,
        "run": queue.run,
        "total": f"{len(queue.frame):,}",
        "empty": "No pair is left here. Choose all pairs, or another page.",
        "items": _items(queue, queue.token),
        "states": {one: states[one].action for one in ids if one in states},
        "history": [decision.sample for decision in view.history(HISTORY)],
        "counts": {
            "wrong": wrong, "right": right, "skipped": actions.count("skip"), "left": len(queue.frame) - len(states)
        },
    }  # fmt: skip


@st.cache_data(show_spinner=False, max_entries=32)
def _items(_queue: PairQueue, token: str) -> list[dict[str, Any]]:
    frame, items = _queue.frame, []
    for row in _queue.order.tolist():
        pair = frame.iloc[row]
        score, target = float(pair[f"suspicion_{_queue.suspicion}"]), str(pair["target"])
        uri, problem = picture(_queue.root, target) if _queue.image else ("", "")
        items.append(
            {
                "id": str(pair["id"]),
                "prompt": readable(str(pair["prompt"])),
                "target": visible(target, limit=200) if _queue.image else readable(target),
                "picture": uri,
                "problem": visible(problem, limit=200),
                "group": "" if pd.isna(pair["class"]) else visible(pair["class"]),
                "loss": f"{pair['loss']:.4g}",
                "score": score if np.isfinite(score) else None,
                "told": f"{score:.3g}",
                "rank": int(_queue.ranks[row]),
            }
        )
    return items


def readable(text: str) -> str:
    """Return a text with its line breaks, and without what cannot be seen; the browser sets it as text, not HTML."""
    cut = text[:MOST_TEXT]
    lines = "\n".join(visible(line, limit=MOST_TEXT) for line in cut.split("\n"))
    return lines + ("…" if len(text) > MOST_TEXT else "")
