"""Which review is open: chosen from those of this dataset, or a new one."""

from __future__ import annotations

import getpass

import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession, list_sessions, open_session
from pages.ui.errors import shown
from pages.ui.reviewer import rename, signed_in
from pages.ui.text import message


def choose_session(log: DecisionLog, *, dataset: str, fingerprint: str) -> ReviewSession:
    """Draw the choice and return the session, by default the one worked on last; stop the page until there is one.

    `?session=ID` in the address opens that one.
    """
    with shown():
        sessions = {session.id: session for session in list_sessions(log, fingerprint=fingerprint)}
    if not sessions:
        st.info("Start a review: your decisions are kept under its name and can be taken up in any browser.")
        with st.container(border=True, width=520):
            _new_session(log, dataset, fingerprint, "Start the review", key="first")
        st.stop()
    wanted = st.query_params.get("session")
    key = f"review_session_{fingerprint[:12]}"
    if st.session_state.get(key) not in sessions:
        st.session_state[key] = wanted if wanted in sessions else next(iter(sessions))
    columns = st.columns([3.2, 1.4], vertical_alignment="bottom")
    chosen = columns[0].selectbox(
        "Review session", list(sessions), key=key, format_func=lambda id: _title(sessions[id]), persist_state="session"
    )
    with columns[1].popover("New", icon=":material/add:", width="stretch"):
        _new_session(log, dataset, fingerprint, "Start", key="next")
    st.query_params["session"] = chosen
    return sessions[chosen]


def _title(session: ReviewSession) -> str:
    return f"{session.name} · {session.reviewer} · {session.created[:10]}"


def _new_session(log: DecisionLog, dataset: str, fingerprint: str, button: str, *, key: str) -> None:
    with st.form(f"review_new_{key}", border=False):
        name = st.text_input("Name of the review", value="First pass" if key == "first" else "", max_chars=80)
        known = signed_in()
        reviewer = known or st.text_input(
            "Your name", value=_user(), max_chars=80, help="Stands beside each decision."
        )  # fmt: skip
        if not st.form_submit_button(button, type="primary"):
            return
    try:
        session = open_session(log, name=name, reviewer=reviewer, dataset=dataset, fingerprint=fingerprint)
    except FVMError as error:
        st.error(message(error))
        return
    if not known:
        rename(reviewer)
    st.query_params["session"] = session.id
    st.session_state.pop(f"review_session_{fingerprint[:12]}", None)
    st.rerun()


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""
