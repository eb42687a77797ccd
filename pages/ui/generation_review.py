"""Wrong training pairs: by suspicion (Eq. 21), a verdict for each, and the pairs that are kept to take home."""

from __future__ import annotations

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.generation.pair_review import fingerprint_of, known_pairs
from fvm_core.generation.score_store import TRAINING, ScoreRun, list_score_runs
from fvm_core.provenance import digest
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession, list_sessions
from fvm_core.workspace import Workspace
from pages.ui import generation_export
from pages.ui.errors import shown
from pages.ui.generation_gallery import PairQueue, gallery
from pages.ui.generation_planted import SUSPICIONS
from pages.ui.generation_runs import by_suspicion, changed, choose_group, rows_by_id, samples, tables
from pages.ui.review_session import choose_session
from pages.ui.review_states import decision_log
from pages.ui.reviewer import choose_reviewer, remember

PAGE = 50
SHOW = {"undecided": "Undecided", "all": "All"}
DEFAULT = "influence"


def draw(workspace: Workspace) -> None:
    """Draw the tab. It stops the page until a review is open."""
    a, b, c = st.columns([1.6, 1.2, 2.6], vertical_alignment="bottom")
    with a:
        group = choose_group(workspace, key="gen_review_scores")
    if group is None:
        return
    runs = {run.name: run for run in group.runs}
    options = [(run.name, one) for run in group.runs for one in _suspicions(workspace, run)]
    usual = [place for place, (_, one) in enumerate(options) if one == DEFAULT]
    name, suspicion = b.selectbox(
        "Suspicion", options, index=usual[-1] if usual else 0, key="gen_suspicion",
        format_func=lambda one: f"{SUSPICIONS.get(one[1], one[1])} · {one[0]}",
        help="Eq. 21: the rise of the loss over all validation pairs that a pair brings. Large is suspicious.",
    )  # fmt: skip
    run = runs[name]
    with shown():
        fingerprint = fingerprint_of(run)
        log = decision_log(workspace.review_url)
        begun = bool(list_sessions(log, fingerprint=fingerprint))
    dataset = str(run.provenance.get(TRAINING, {}).get("name", name))
    with c if begun else st.container():
        session = choose_session(log, dataset=dataset, fingerprint=fingerprint)
    with shown():
        reviewer = choose_reviewer(log, session, team=not workspace.review_url.startswith("sqlite"))
    planted(workspace, run, suspicion)
    _work(workspace, log, session, run, suspicion, reviewer, fingerprint)
    generation_export.draw(workspace, log, session, run)
    remember()


def planted(workspace: Workspace, run: ScoreRun, suspicion: str) -> None:
    """Say how well this order finds the wrong targets, where they were planted, and the plain loss beside it."""
    found = tables(workspace, run.name)[1]
    if found.empty:
        return
    rows = {str(row["method"]): row for row in found.to_dict("records")}
    own = rows[suspicion]
    told = (
        f"{own['planted']:,} of these targets were planted as wrong. This order finds them with ROC AUC "
        f"{own['auc']:.2f} %; {own['found']:.0f} % of its first {own['planted']:,} are among them."
    )
    if suspicion != "loss" and "loss" in rows:
        told += f" The plain loss: {rows['loss']['auc']:.2f} and {rows['loss']['found']:.0f} %."
    st.caption(told)


def _suspicions(workspace: Workspace, run: ScoreRun) -> list[str]:
    columns = samples(workspace, run.name, TRAINING).columns
    return [one.removeprefix("suspicion_") for one in columns if one.startswith("suspicion_")]


@st.fragment
def _work(
    workspace: Workspace, log: DecisionLog, session: ReviewSession, run: ScoreRun, suspicion: str, reviewer: str,
    fingerprint: str,
) -> None:  # fmt: skip
    with shown(stop=False):
        frame = samples(workspace, run.name, TRAINING)
        a, b, c, d = st.columns([1.3, 1.1, 0.9, 2.7], vertical_alignment="bottom")
        show = a.segmented_control(
            "Show", list(SHOW), default="undecided", required=True, key="gen_review_show", format_func=SHOW.__getitem__
        )
        version = changed(workspace, run.name, TRAINING)
        states = log.replay(session.id).seen_by(reviewer, log.assignments(session.id).blind).states()
        key = digest([session.id, run.name, suspicion, show, reviewer, *version])
        order = by_suspicion(workspace, run.name, suspicion)[0]
        order = frozen(frame, order, set(states) if show == "undecided" else set(), key=key)
        pages = max(1, -(-len(order) // PAGE))
        page = int(b.number_input("Page", 1, pages, 1, key=f"gen_review_page_{key[:12]}", help=f"{PAGE} pairs a page."))
        if c.button("Refresh", icon=":material/refresh:", key="gen_review_refresh", help="Leaves out what is decided."):
            st.session_state.pop("gen_review_frozen", None)
            st.rerun(scope="fragment")
        d.caption(f"{len(order):,} pairs, the most suspicious first. Wrong, right, skip: one key each; arrows move.")
        ranks = by_suspicion(workspace, run.name, suspicion)[1]
        shown_rows = order[(page - 1) * PAGE : page * PAGE]
        token = digest([key, page, [int(row) for row in shown_rows]])[:24]
        queue = PairQueue(
            frame, shown_rows, ranks, suspicion, run.name, token, root=run.root, image=run.kind == "image"
        )
        known = known_pairs(rows_by_id(workspace, run.name), list_score_runs(workspace), fingerprint)
        with st.container(key="live_pair_review"):
            gallery(log, session, queue, known, reviewer=reviewer)


def frozen(frame: pd.DataFrame, order: NDArray[np.int64], decided: set[str], *, key: str) -> NDArray[np.int64]:
    """Return the rows in `order` without `decided` ones, as they were when `key` was new: what is decided meanwhile
    stays in its place."""
    kept = st.session_state.get("gen_review_frozen")
    if kept is None or kept[0] != key:
        if decided:
            order = order[~frame["id"].astype(str).isin(decided).to_numpy()[order]]
        st.session_state["gen_review_frozen"] = kept = (key, order)
    return kept[1]
