"""Review page: flagged images in order of suspicion, one key for each decision, corrected labels to take home."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.ids import IdIndex
from fvm_core.influence.store import read_ids
from fvm_core.provenance import digest
from fvm_core.review.inbox import Known
from fvm_core.review.log import DecisionLog
from fvm_core.review.outcome import outcome_of
from fvm_core.review.score_rows import ScoreRows, read_score_rows
from fvm_core.review.session import ReviewSession, list_sessions
from fvm_core.workspace import current_workspace
from pages.ui import explain_panel, review_outlook, review_selection, review_team
from pages.ui.after_review import after_review
from pages.ui.errors import shown
from pages.ui.gallery import Shown, asked, gallery
from pages.ui.links import link
from pages.ui.review_export import export_section
from pages.ui.review_filters import choose_filter, frozen_queue, shown_positions
from pages.ui.review_session import choose_session
from pages.ui.review_states import decision_log
from pages.ui.review_team import Team
from pages.ui.reviewer import choose_reviewer, remember
from pages.ui.score_choice import choose_scores, scored_dataset
from pages.ui.score_sets import FileKey, ScoreFile, listed
from pages.ui.team_queue import own_share

EMPTY = ":material/fact_check:"


def main() -> None:
    workspace = current_workspace()
    with shown():
        files, _ = listed(workspace)
    if not files:
        st.title("Review")
        st.info(
            "There are no scores yet: the review goes through images in order of suspicion.",
            icon=":material/fact_check:",
        )
        link("score", "Score a dataset")
        return
    title, choice, review = st.columns([1, 1.9, 3], vertical_alignment="bottom")
    title.title("Review")
    with choice:
        file = choose_scores(files)
    with shown():
        log = decision_log(workspace.review_url)
        dataset = scored_dataset(file)
        begun = bool(list_sessions(log, fingerprint=file.fingerprint))
    with review if begun else st.container():
        session = choose_session(log, dataset=file.dataset, fingerprint=file.fingerprint)
    with shown():
        reviewer = choose_reviewer(log, session, team=not workspace.review_url.startswith("sqlite"))
    with shown():
        table = _table(file.key)
    index = _index(dataset, dataset.fingerprint)
    known = Known(
        given=lambda sample: _given(dataset, index, sample),
        classes=dataset.num_classes,
        runs={
            f"{item.run}/{item.method}": digest(dict(item.provenance))
            for item in files
            if item.fingerprint == file.fingerprint
        },
    )
    picked = asked()
    _work(log, session, file, dataset, index, table, known, picked, reviewer)
    row = None if picked is None else index.row(picked)
    at = -1 if row is None else int(table.positions([row])[0])
    explain_panel.draw(workspace, file, files, dataset, row, -1 if at < 0 else int(table.suggested[at]))
    review_outlook.draw(
        workspace, file, files, dataset, lambda: outcome_of(log, session.id), lambda ids: _places(table, index, ids)
    )
    team = Team(workspace, log, session, dataset, reviewer, lambda: read_ids(file.path, shown_positions()))
    review_team.draw(team, picked)
    export_section(workspace, log, session, dataset, file, reviewer)
    after_review(workspace, log, session, dataset)
    remember()


@st.fragment
def _work(
    log: DecisionLog, session: ReviewSession, file: ScoreFile, dataset: LabeledImages, index: IdIndex, table: ScoreRows,
    known: Known, picked: str | None, reviewer: str,
) -> None:  # fmt: skip
    """Draw filters and gallery; they run alone. The whole page runs again when another image than `picked` is to be
    explained."""
    with shown(stop=False):
        wanted, page_size = choose_filter(dataset.class_names, table)
        wanted = replace(wanted, ids=review_selection.chosen(file.fingerprint))
        given = log.assignments(session.id)
        states = log.replay(session.id).seen_by(reviewer, given.blind).states()

        def actions() -> dict[int, str]:
            places = _places(table, index, states)
            return {place: states[sample].action for sample, place in places.items() if place >= 0}

        order = frozen_queue(table, wanted, actions, key=(session.id, *file.key, page_size, reviewer))
        order = own_share(order, given, reviewer, states, lambda found: read_ids(file.path, found))
        queue = Shown(dataset, index, table, file.key, file.run, file.method, order, page_size)
        with st.container(key="live_review"):
            gallery(log, session, queue, known, reviewer=reviewer)
    if asked() != picked:
        st.rerun()


def _places(table: ScoreRows, index: IdIndex, samples: Iterable[str]) -> dict[str, int]:
    """Return where each sample is in the score table, -1 for one that it does not have."""
    samples = list(samples)
    return dict(zip(samples, table.positions(index.find(samples)).tolist(), strict=True))


@st.cache_resource(max_entries=2, show_spinner="Reading the scores …")
def _table(key: FileKey) -> ScoreRows:
    return read_score_rows(key[0])


@st.cache_resource(max_entries=4, show_spinner=False)
def _index(_dataset: LabeledImages, fingerprint: str) -> IdIndex:
    return IdIndex(_dataset.ids)


def _given(dataset: LabeledImages, index: IdIndex, sample: str) -> int | None:
    """Return the given label of a sample, None for an id that the dataset does not have."""
    row = index.row(sample)
    return None if row is None else int(dataset.labels[row])


main()
