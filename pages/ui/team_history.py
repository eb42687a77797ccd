"""The story of one image: who decided what, when, on which score, in which review, and what was undone."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.review.history import Event, image_history
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession
from pages.ui.text import plain


def draw(log: DecisionLog, session: ReviewSession, dataset: LabeledImages, reviewer: str, picked: str | None) -> None:
    """Draw the history of the image typed in, by default the one picked in the gallery (key E)."""
    sample = st.text_input("Id of the image", value=picked or "", key=f"team_image_{picked}").strip()
    if not sample:
        st.caption("Press **E** on an image of the gallery, or type its id.")
        return
    found = image_history(log, sample, fingerprint=session.fingerprint, viewer=reviewer)
    if found.hidden:
        st.info(f"{found.hidden} of other people are hidden until this image's blind review is over.")
    if not found.events:
        st.caption(f"Nobody has decided on {plain(sample)} yet." if not found.hidden else "You have not decided yet.")
        return
    st.dataframe([_row(dataset, event) for event in reversed(found.events)], hide_index=True)


def _row(dataset: LabeledImages, event: Event) -> dict[str, object]:
    decision = event.decision
    known = decision.label is not None and decision.label < dataset.num_classes
    return {
        "when": decision.decided_at,
        "who": decision.reviewer,
        "did": "settled" if decision.role == "adjudicate" and decision.action != "undo" else decision.action,
        "label": dataset.class_names[decision.label] if known and decision.label is not None else "",
        "undone": "" if event.undone is None else f"by {event.undone.reviewer}, {event.undone.decided_at}",
        "score": decision.score,
        "method": decision.method,
        "run": decision.run,
        "review": event.review,
    }
