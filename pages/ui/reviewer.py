"""Who sits at this browser: the name that stands beside each decision."""

from __future__ import annotations

import streamlit as st

from fvm_core.errors import ReviewError
from fvm_core.provenance import digest
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession, person
from pages.ui import reviewer_memory
from pages.ui.text import message, plain

NAME = "reviewer_name"


def choose_reviewer(log: DecisionLog, session: ReviewSession, *, team: bool) -> str:
    """Return the reviewer's name; ask for it, and stop the page, where it is not known.

    A person who is signed in is who they are. Else it is the name given in this browser session, or before in this
    browser; a review that one person alone works on, on their own machine, is that person's without a question
    (`team`: never without).
    """
    name = signed_in() or st.session_state.get(NAME)
    if name:
        return str(name)
    others = {*log.replay(session.id).reviewers, *log.assignments(session.id).reviewers}
    if not team and others <= {session.reviewer}:
        return session.reviewer
    if kept := reviewer_memory.remembered():
        st.session_state[NAME] = kept
        st.rerun()
    with st.form("review_who", width=520):
        st.markdown("Who are you? Your name stands beside each of your decisions.")
        st.caption("In this review: " + plain(", ".join(sorted(others | {session.reviewer}))))
        typed = st.text_input("Your name", max_chars=80, key="review_who_name")
        given = st.form_submit_button("Go on", type="primary")
    if given and rename(typed):
        st.rerun()
    st.stop()


def signed_in() -> str:
    """Return the name of the person who signed in by OpenID Connect, "" where nobody did."""
    user = st.user.to_dict() if getattr(st.user, "is_logged_in", False) else {}
    name = user.get("name") or user.get("email") or ""
    return person(str(name)[:80]) if str(name).strip() else ""


def remember() -> None:
    """Let this browser remember the name that was given in it; nothing where somebody signed in."""
    if (name := st.session_state.get(NAME)) and not signed_in():
        reviewer_memory.keep(str(name))


def rename(name: str) -> bool:
    """Keep a name for this browser session; say what is wrong with one that cannot be."""
    try:
        st.session_state[NAME] = person(name)
    except ReviewError as error:
        st.error(message(error))
        return False
    return True


def mark(session: ReviewSession, reviewer: str) -> str:
    """Return what tells the browser's logs of several people apart: "" for whoever began the review."""
    return "" if reviewer == session.reviewer else digest(reviewer)[:12]
