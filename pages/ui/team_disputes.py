"""What reviewers disagree on, one image after the other, and the decision that settles it."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.review.adjudicate import adjudicate, take_back
from fvm_core.review.decision import STATES, Decision
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import Dispute, outcome_of
from fvm_core.review.session import ReviewSession
from pages.ui import evidence_cards
from pages.ui.text import plain
from pages.ui.thumbnails import thumbnail


def draw(log: DecisionLog, session: ReviewSession, dataset: LabeledImages, reviewer: str) -> None:
    """Draw the queue of open disagreements; those settled stand below it."""
    outcome = outcome_of(log, session.id)
    settled = [dispute for dispute in outcome.disputes if dispute.settled is not None]
    st.markdown(
        f"**{len(outcome.open):,}** open, {len(settled):,} settled. An export keeps the given label of open ones."
    )
    if outcome.open:
        _settle(log, session, dataset, reviewer, outcome.open)
    if settled:
        rows = [
            {
                "image": dispute.sample,
                "settled as": _name(dataset, dispute.settled),
                "by": dispute.settled.reviewer,
                "at": dispute.settled.decided_at,
                "opinions": "; ".join(f"{who}: {_name(dataset, said)}" for who, said in dispute.opinions.items()),
            }
            for dispute in settled
            if dispute.settled
        ]
        st.dataframe(rows, hide_index=True)
        mine = [dispute.sample for dispute in settled if dispute.settled and dispute.settled.reviewer == reviewer]
        if mine:
            columns = st.columns([3, 1], vertical_alignment="bottom")
            sample = columns[0].selectbox("Settled by you", mine, key="team_settled")
            if columns[1].button("Take back", icon=":material/undo:", key="team_take_back", width="stretch"):
                take_back(log, session.id, sample, reviewer=reviewer)
                st.rerun()


def _settle(
    log: DecisionLog, session: ReviewSession, dataset: LabeledImages, reviewer: str, disputes: tuple[Dispute, ...]
) -> None:
    by_sample = {dispute.sample: dispute for dispute in disputes}
    if st.session_state.get("team_dispute") not in by_sample:
        st.session_state["team_dispute"] = next(iter(by_sample))
    sample = st.selectbox("Image", list(by_sample), key="team_dispute")
    dispute = by_sample[sample]
    with st.container(horizontal=True, vertical_alignment="center", gap="medium"):
        places = np.flatnonzero(dataset.ids == sample)
        if len(places):
            st.html(evidence_cards.picture(thumbnail(dataset, int(places[0]))[0], sample), width="content")
        with st.container():
            for who, said in dispute.opinions.items():
                st.markdown(f"{plain(who)} {STATES[said.action]}: **{plain(_name(dataset, said))}**")
    if reviewer in dispute.opinions:
        st.caption("You are one of the two sides. Somebody else had better settle this one.")
    first = next(iter(dispute.opinions.values()))
    labels = _order(dispute.opinions, first.given, dataset.num_classes)
    label = st.selectbox(
        "The label is", labels, format_func=lambda code: dataset.class_names[code], key=f"team_label_{sample}"
    )
    if st.button("Settle", type="primary", icon=":material/gavel:", key="team_settle"):
        adjudicate(log, session.id, sample, int(label), classes=dataset.num_classes, reviewer=reviewer)
        st.rerun()


def _order(opinions: Mapping[str, Decision], given: int, classes: int) -> list[int]:
    """Return all classes, those that anybody gave first, then the given one."""
    said = [decision.label for decision in opinions.values() if decision.label is not None]
    return list(dict.fromkeys([*said, given, *range(classes)]))


def _name(dataset: LabeledImages, decision: Decision | None) -> str:
    if decision is None or decision.label is None:
        return ""
    return dataset.class_names[decision.label] if decision.label < dataset.num_classes else str(decision.label)
