"""The dataset, validation set and model in use: one choice for all pages, also in the page's address.

The names live in `st.session_state` under "dataset", "validation" and "model"; `?model=digits-fvm` presets one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import streamlit as st

KEYS = ("dataset", "validation", "model")
HELD_OUT_WORDS = ("valid", "clean", "test", "dev", "held")


def held_out(name: str) -> bool:
    """Return whether a dataset's name sounds like a clean set; only the first proposal rests on it.

    >>> held_out("digits-validation"), held_out("digits")
    (True, False)
    """
    return any(word in name for word in HELD_OUT_WORDS)


def selected(key: str) -> str | None:
    """Return the name in use under `key`, or None."""
    value = st.session_state.get(key) or st.query_params.get(key)
    return str(value) if value else None


def remember(key: str, name: str | None) -> None:
    """Use `name` under `key` from now on. Call it before the select box of the same key is drawn in this run."""
    st.session_state[key] = name


def propose(key: str, names: Sequence[str], prefer: Callable[[str], bool] | None = None) -> str | None:
    """Return the name in use under `key` if it is among `names`, else one that `prefer` accepts, else the first.

    Without `prefer`, a name that sounds right for `key`; None if there are no names.
    """
    current = selected(key)
    if current in names:
        return current
    if prefer is None and key in ("dataset", "validation"):
        prefer = held_out if key == "validation" else (lambda name: not held_out(name))
    return next((name for name in names if prefer is not None and prefer(name)), names[0] if names else None)


def choose(
    key: str,
    names: Sequence[str],
    *,
    label: str,
    help: str | None = None,
    optional: str = "",
    format_func: Callable[[str], str] = str,
    prefer: Callable[[str], bool] | None = None,
) -> str | None:
    """Draw a select box for `key` and return the chosen name.

    The box starts at the name in use, if it is still among `names`; else at the first one that `prefer` accepts
    (by default one that sounds right for `key`), else at the first. `optional` is the text for "none of them"; without
    it one is always chosen (None if no names).
    """
    options: list[str | None] = [*([None] if optional else []), *names]
    if not options:
        return None
    if not (optional and st.session_state.get(key, "") is None):
        st.session_state[key] = propose(key, names, prefer)
    value = st.selectbox(
        label,
        options,
        key=key,
        help=help,
        format_func=lambda name: optional if name is None else format_func(name),
        persist_state="session",
    )
    if value and st.query_params.get(key) != value:
        st.query_params[key] = value
    elif not value and key in st.query_params:
        del st.query_params[key]
    return value
