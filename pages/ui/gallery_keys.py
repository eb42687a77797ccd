"""Each person's keys between browser and review database."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.review.keys import DEFAULT_KEYS, read_keys, write_keys
from fvm_core.review.log import DecisionLog
from fvm_core.workspace import current_workspace

_HANDLED = "review_keys_handled"


def bindings(log: DecisionLog, sent: Any, *, reviewer: str) -> dict[str, Any]:
    """Keep the keys that the browser sent, if it did so since the last run, and return what it is told.

    `sent` is `{"reviewer", "edit", "keys"}`; it stays in the browser's state, so `edit`, a name drawn at random, tells
    a new one from one that was written long ago. `problem` says why the keys were not kept or not read.
    """
    edit, problem = "", ""
    try:
        if isinstance(sent, Mapping) and sent.get("reviewer") == reviewer and isinstance(sent.get("edit"), str):
            edit = sent["edit"][:64]
            if st.session_state.get(_HANDLED) != edit:
                write_keys(log, reviewer, sent.get("keys"))
                st.session_state[_HANDLED] = edit
        keys = read_keys(log, reviewer, folder=current_workspace().reviewers)
    except FVMError as error:
        keys, problem = dict(DEFAULT_KEYS), str(error)
    return {"reviewer": reviewer, "keys": keys, "defaults": dict(DEFAULT_KEYS), "edit": edit, "problem": problem}
