"""How far reviewers agree: Cohen's kappa for each pair, Fleiss' for all who saw the same images."""

from __future__ import annotations

import streamlit as st

from fvm_core.review.kappa import QUESTIONS, agreements
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import KINDS, outcome_of
from fvm_core.review.session import ReviewSession


def draw(log: DecisionLog, session: ReviewSession) -> None:
    """Draw the figures with the number of images behind each, or what they need."""
    found = agreements(log.replay(session.id), log.assignments(session.id).blind)
    if not found:
        st.info(
            "No image has been decided blind by two people yet. Share some out to several, or ask for a second opinion."
        )
        return
    rows = [
        {
            "question": QUESTIONS[each.question],
            "who": " and ".join(each.who),
            "measure": "Cohen" if len(each.who) == 2 else "Fleiss",
            "images": each.items,
            "same answer": each.same,
            "kappa": each.kappa,
            "remark": each.why,
        }
        for each in found
    ]
    st.dataframe(
        rows, hide_index=True,
        column_config={
            "same answer": st.column_config.NumberColumn(format="percent"),
            "kappa": st.column_config.NumberColumn(format="%.3f", help="1: always, 0: as often as by chance"),
        },
    )  # fmt: skip
    st.caption(
        "Only images that people decided blind count: elsewhere the second person saw the first one's decision. Skips "
        "are no answer. Fleiss' kappa takes the images that exactly so many people answered."
    )
    outcome = outcome_of(log, session.id)
    kinds = [{"outcome": kind, "images": outcome.how_many(kind), "meaning": KINDS[kind]} for kind in KINDS]
    st.dataframe(kinds, hide_index=True)
