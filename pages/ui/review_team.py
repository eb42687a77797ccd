"""Review page, for several people: names, who sees what, how far they agree, what is open, the log as a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.review.assign import CHOICES, WAYS, Given, assign, second_pass, split, take_over
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui import team_disputes, team_history, team_kappa, team_log
from pages.ui.errors import shown
from pages.ui.reviewer import rename, signed_in
from pages.ui.text import plain

TABS = ("People", "Agreement", "Disagreements", "One image", "Log")


@dataclass(frozen=True)
class Team:
    """What the parts of the panel need. `listed()` gives the ids in the gallery's queue, in its order."""

    workspace: Workspace
    log: DecisionLog
    session: ReviewSession
    dataset: LabeledImages
    reviewer: str
    listed: Callable[[], Sequence[str]]


@st.fragment
def draw(team: Team, picked: str | None) -> None:
    """Draw the panel, closed until somebody opens it: nothing of it is computed before. `picked`: an image's id."""
    with st.expander(
        f"Several reviewers · you are {plain(team.reviewer)}",
        icon=":material/group:",
        key="review_team",
        on_change="rerun",
    ) as panel:
        if not panel.open:
            return
        with shown(stop=False):
            tabs = st.tabs(TABS, key="team_tab", on_change="rerun")  # only the open one is drawn
            for name, tab in zip(TABS, tabs, strict=True):
                if tab.open:
                    with tab:
                        _part(name, team, picked)


def _part(name: str, team: Team, picked: str | None) -> None:
    if name == "People":
        _people(team)
    elif name == "Agreement":
        team_kappa.draw(team.log, team.session)
    elif name == "Disagreements":
        team_disputes.draw(team.log, team.session, team.dataset, team.reviewer)
    elif name == "One image":
        team_history.draw(team.log, team.session, team.dataset, team.reviewer, picked)
    else:
        team_log.draw(team.workspace, team.log, team.session, team.dataset, team.reviewer)


def _people(team: Team) -> None:
    if not signed_in():
        with st.form("team_name", border=False):
            columns = st.columns([3, 1], vertical_alignment="bottom")
            name = columns[0].text_input("Your name at this browser", value=team.reviewer, max_chars=80)
            if columns[1].form_submit_button("This is me", width="stretch") and rename(name):
                st.rerun()
    given, opinions = team.log.assignments(team.session.id), team.log.replay(team.session.id).opinions()
    people = sorted({*given.reviewers, *(name for of in opinions.values() for name in of)})
    rows = []
    for name in people:
        mine = given.of.get(name, {})
        rows.append(
            {
                "reviewer": name,
                "assigned": len(mine),
                "of them blind": sum(mine.values()),
                "of them decided": sum(name in opinions.get(sample, {}) for sample in mine),
                "decided in all": sum(name in of for of in opinions.values()),
            }
        )
    if rows:
        st.dataframe(rows, hide_index=True)
    if not given.assigned:
        st.caption("Nothing is assigned: everybody sees every image.")
    left, right = st.columns(2, gap="large")
    with left, shown(stop=False):
        _split(team, people)
    with right, shown(stop=False):
        _second(team, people)
        if given.reviewers:
            _hand_over(team, given.reviewers)


def _names(key: str, people: Sequence[str]) -> list[str]:
    text = st.text_input(
        "Names, with commas between", value=", ".join(people), key=f"team_names_{key}", placeholder="Ada, Bob"
    )
    return [name for part in text.split(",") if (name := part.strip())]


def _split(team: Team, people: Sequence[str]) -> None:
    with st.form("team_split"):
        st.markdown("**Share out the queue above**")
        names = _names("split", people)
        columns = st.columns(2)
        count = columns[0].number_input("Images", min_value=1, value=500, step=100, help="The first so many.")
        way = columns[1].selectbox("How", list(WAYS), format_func=WAYS.__getitem__)
        overlap = columns[0].number_input("Seen by several, %", min_value=0, max_value=100, value=10, step=5)
        several = columns[1].number_input("By how many", min_value=2, value=2)
        st.caption("Images seen by several are blind: each person sees only their own decision on them.")
        if not st.form_submit_button("Assign", icon=":material/call_split:"):
            return
    taken = team.log.assignments(team.session.id).assigned
    samples = [sample for sample in team.listed() if sample not in taken][: int(count)]
    _write(team, split(samples, names, way=way, overlap=overlap / 100, people=int(several)))


def _second(team: Team, people: Sequence[str]) -> None:
    with st.form("team_second"):
        st.markdown("**Ask for a blind second opinion**")
        names = _names("second", people)
        choice = st.selectbox("Of the decided images", list(CHOICES), format_func=CHOICES.__getitem__)
        share = st.number_input("Share, %", min_value=1, max_value=100, value=20)
        if not st.form_submit_button("Ask", icon=":material/visibility_off:"):
            return
    _write(team, second_pass(team.log.replay(team.session.id), names, choice=choice, share=share / 100))


def _hand_over(team: Team, people: Sequence[str]) -> None:
    with st.form("team_over"):
        st.markdown("**Hand over what somebody has not decided**")
        columns = st.columns(2)
        source = columns[0].selectbox("From", people)
        target = columns[1].text_input("To", max_chars=80)
        if not st.form_submit_button("Hand over", icon=":material/swap_horiz:"):
            return
    replay = team.log.replay(team.session.id)
    _write(team, take_over(team.log, team.session.id, source=source, target=target, replay=replay))


def _write(team: Team, given: Sequence[Given]) -> None:
    if not given:
        st.warning("There is no such image left to give to these people.")
        return
    assign(team.log, team.session.id, given, by=team.reviewer)
    st.rerun()
