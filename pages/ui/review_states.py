"""What was decided so far, for pages that only look: the review worked on last."""

from __future__ import annotations

from collections.abc import Mapping

import streamlit as st

from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import Outcome
from fvm_core.review.session import list_sessions
from fvm_core.workspace import Workspace
from pages.ui.reviewer import NAME, signed_in


def decided(workspace: Workspace, fingerprint: str) -> tuple[str, Mapping[str, str]]:
    """Return (name of the review in use, {id: action that holds}); ("", {}) when the dataset has none. On images under
    blind review only the person's own decision counts.

    Raises:
        StorageError: the log cannot be read.
    """
    log = decision_log(workspace.review_url)
    sessions = {session.id: session for session in list_sessions(log, fingerprint=fingerprint)}
    if not sessions:
        return "", {}
    wanted = st.session_state.get(f"review_session_{fingerprint[:12]}")
    session = sessions.get(str(wanted)) or next(iter(sessions.values()))
    reviewer = str(signed_in() or st.session_state.get(NAME) or session.reviewer)
    seen = log.replay(session.id).seen_by(reviewer, log.assignments(session.id).blind)
    return session.name, {sample: state.action for sample, state in seen.states().items()}


def open_disputes(outcome: Outcome) -> str:
    """Return in words how many images reviewers disagree on with nobody having settled it; "" for none."""
    count = len(outcome.open)
    if not count:
        return ""
    told = "image is disputed and" if count == 1 else "images are disputed and"
    return f"{count:,} {told} not settled (Several reviewers, Disagreements)."


@st.cache_resource(max_entries=4)
def decision_log(url: str) -> DecisionLog:
    return DecisionLog(url)
