"""Review page: what the review has found so far, where to cut the list, and whether the list can be trusted."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import plotly.graph_objects as go
import streamlit as st
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.influence.store import read_column
from fvm_core.provenance import digest
from fvm_core.review.decision import Decision
from fvm_core.review.outcome import Outcome
from fvm_core.review.outlook import aligned, ranking, verdict, verdicts
from fvm_core.review.thresholds import Cut, Cuts, chances, per_class
from fvm_core.review.yield_meter import Left, StopRule, advice, bands, left
from fvm_core.workspace import Workspace
from pages.ui import chart, self_test_panel
from pages.ui.errors import shown
from pages.ui.outlook_figures import band_figure, band_table, cut_figure
from pages.ui.review_states import open_disputes
from pages.ui.score_sets import FileKey, ScoreFile, posterior_file
from pages.ui.text import plain

Keys = tuple[FileKey, FileKey | None]
TITLE = "How far to go: what the review found, where to cut the list, whether to trust it"
TABS = ("What the review found", "Where to cut the list", "Test the list")
WAYS = {"budget": "Time for so many", "precision": "So many of them wrong", "recall": "So many errors found",
        "class": "Each class by itself"}  # fmt: skip
NO_CHANCE = (
    "What a cut should bring is read from the label error posterior of the same model. Score with that method too "
    "(Score page, a forward pass a sample)."
)


@dataclass(frozen=True)
class Ranked:
    """One score list in order of rank. `order` (n,): positions in the file; `chance`: P(label is wrong) or None."""

    order: NDArray[np.int32]
    labels: NDArray[np.int32]
    suspicion: NDArray[np.float64]
    chance: NDArray[np.float64] | None


@st.fragment
def draw(
    workspace: Workspace, file: ScoreFile, files: Sequence[ScoreFile], dataset: LabeledImages,
    outcome: Callable[[], Outcome], places: Callable[[Iterable[str]], Mapping[str, int]],
) -> None:  # fmt: skip
    """Draw the panel, closed until somebody opens it: nothing of it is worked out before. `outcome()` is what all
    reviewers' decisions come to at this moment; `places(ids)` is where samples are in the score file, -1: not there."""
    with st.expander(TITLE, icon=":material/flag:", key="review_outlook", on_change="rerun") as panel:
        if not panel.open:
            return
        with shown(stop=False):
            posterior = posterior_file(file, files)
            key = (file.key, None if posterior is None else posterior.key)
            ranked = _ranked(*key)
            first, second, third = st.tabs(TABS, key="outlook_tab", on_change="rerun")  # only the open one is drawn
            with first:
                if first.open:
                    now = outcome()
                    at = places(now.states)
                    _found(_seen(key, _token(now.states, at), ranked, now.states, at), open_disputes(now))
            with second:
                if second.open:
                    _cut(key, ranked, dataset.class_names)
            with third:
                if third.open:
                    self_test_panel.draw(workspace, file)


@dataclass(frozen=True)
class Seen:
    """What the decisions say of a list: verdicts (n,) in order of rank, what is left, the bands as table and chart."""

    found: NDArray[np.int8]
    rest: Left
    judged: int
    wrong: int
    table: pd.DataFrame
    figure: go.Figure


def _token(decisions: Mapping[str, Decision], places: Mapping[str, int]) -> str:
    return digest([[places[sample], verdict(decision)] for sample, decision in decisions.items()])


@st.cache_resource(max_entries=4, show_spinner=False)
def _seen(
    key: Keys, token: str, _ranked: Ranked, _decisions: Mapping[str, Decision], _places: Mapping[str, int]
) -> Seen:
    found = verdicts(len(_ranked.order), _places, _decisions)[_ranked.order]
    every = bands(found)
    judged, wrong = sum(band.judged for band in every), sum(band.wrong for band in every)
    table = band_table(every, _ranked.chance)
    return Seen(found, left(found, _ranked.chance), judged, wrong, table, band_figure(table))


@st.cache_resource(max_entries=2, show_spinner=False)
def _cuts(key: Keys, _suspicion: NDArray[np.float64], _chance: NDArray[np.float64]) -> tuple[Cuts, pd.DataFrame]:
    cuts = Cuts(_suspicion, _chance)
    return cuts, cuts.curve()


@st.cache_resource(max_entries=2, show_spinner="Ranking …")
def _ranked(file: FileKey, posterior: FileKey | None) -> Ranked:
    suspicion = read_column(file[0], "suspicion")
    order = ranking(suspicion).astype(np.int32)
    chance = None
    if posterior is not None:
        rows, others = (read_column(path, "row").astype(np.int64, copy=False) for path in (file[0], posterior[0]))
        found = aligned(rows, others, chances(read_column(posterior[0], "score")))
        chance = None if found is None else found[order]
    return Ranked(order, read_column(file[0], "label").astype(np.int32)[order], suspicion[order], chance)


def _found(seen: Seen, disputed: str) -> None:
    """Draw the yield by rank, what is left, and whether to stop; `disputed` says what is still open, "" for nothing."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        rate = st.number_input(
            "Stop when fewer than, %", 1, 99, 10, key="outlook_rate", width=180, persist_state="session",
            help="Of the deepest images that were judged, so few still had a wrong label.",
        )  # fmt: skip
        window = st.number_input(
            "of the last", 10, 1000, 50, step=10, key="outlook_window", width=140, persist_state="session"
        )
        sure = st.toggle(
            "be 95 % sure", value=True, key="outlook_sure", persist_state="session",
            help="Compares the upper end of the Wilson interval, not the rate itself.",
        )  # fmt: skip
        st.button("Count again", icon=":material/refresh:", key="outlook_again", help="With the latest decisions")
    rule = StopRule(window=int(window), rate=rate / 100, sure=sure)
    told, rest, judged, wrong = advice(seen.found, rule), seen.rest, seen.judged, seen.wrong
    with st.container(horizontal=True):
        st.metric("Judged", f"{judged:,}", width=160)
        share = f"{wrong / judged:.0%} of those judged" if judged else None
        st.metric("Wrong labels confirmed", f"{wrong:,}", share, "off", width=220, delta_arrow="off")
        st.metric("Errors left, expected", f"{rest.expected:,.0f}", width=220, help=f"From {rest.basis}.")
        st.metric("at most (95 %)", f"{rest.at_most:,.0f}", width=180, help="If a rank is no worse than those before.")
    if disputed:
        st.caption(f"{disputed} Such images count as not judged here.")
    _advise(told.stop, told.judged, told.wrong, told.high, rule)
    chart.draw(
        seen.figure, name="review_yield", data=seen.table,
        alt="Share of wrong labels confirmed by rank band, with Wilson intervals, and the expected share",
    )  # fmt: skip


def _advise(stop: bool, judged: int, wrong: int, high: float, rule: StopRule) -> None:
    words = f"{wrong} of the {judged} deepest judged images were wrong (at most {high:.0%}, 95 % sure)."
    if judged == 0:
        st.info("Nothing was judged in this list yet.", icon=":material/fact_check:")
    elif judged < rule.window:
        st.info(f"{words} Judge {rule.window - judged} more for an advice.", icon=":material/fact_check:")
    elif stop:
        st.success(f"You can stop: {words}", icon=":material/flag:")
    else:
        st.info(f"Go on: {words}", icon=":material/arrow_forward:")


def _cut(key: Keys, ranked: Ranked, names: Sequence[str]) -> None:
    """Draw where to cut, by what the person has or wants, and what that should bring."""
    if ranked.chance is None:
        st.caption(NO_CHANCE)
        return
    way = st.segmented_control(
        "Cut by", list(WAYS), default="budget", required=True, key="outlook_way", format_func=WAYS.__getitem__,
        label_visibility="collapsed",
    )  # fmt: skip
    if way == "class":
        _each_class(ranked, ranked.chance, names)
        return
    (cuts, curve), n = _cuts(key, ranked.suspicion, ranked.chance), len(ranked.order)
    if way == "budget":
        count = st.number_input("Images that you have time for", 1, n, min(500, n), step=100, key="outlook_budget",
                                width=240, persist_state="session")  # fmt: skip
        cut: Cut | None = cuts.by_budget(int(count))
    elif way == "precision":
        share = st.slider("Share of wrong labels among them, %", 5, 99, 80, key="outlook_precision", width=420)
        cut = cuts.by_precision(share / 100)
    else:
        share = st.slider("Share of all wrong labels found, %", 5, 99, 80, key="outlook_recall", width=420)
        cut = cuts.by_recall(share / 100)
    if cut is None:
        st.info("No cut is expected to reach that. Ask for less.", icon=":material/info:")
    else:
        st.markdown(
            f"**{cut.count:,}** images, down to a suspicion of {plain(f'{cut.threshold:.4g}')}: "
            f"**{cut.precision:.0%}** of them are expected to be wrong ({cut.precision * cut.count:,.0f} labels), "
            f"which is **{cut.recall:.0%}** of the {cut.wrong:,.0f} wrong labels expected in all."
        )
        if st.button(
            "Review only these", icon=":material/filter_list:", key="outlook_use", on_click=_use, args=(cut.count,)
        ):
            st.rerun()
    chart.draw(
        cut_figure(curve, None if cut is None else cut.count), name="review_cut", data=curve,
        alt="Expected precision and recall over the number of images looked at",
    )  # fmt: skip
    st.caption(
        "Expected from the label error posterior, which uses no truth. On CIFAR-10N its precision was within 6 points "
        "of the real one, too low rather than too high; the number of wrong labels came out 15 to 25 % too low."
    )


def _use(count: int) -> None:
    st.session_state["review_top"] = count


def _each_class(ranked: Ranked, chance: NDArray[np.float64], names: Sequence[str]) -> None:
    share = st.slider("Share of wrong labels in each class's list, %", 5, 99, 80, key="outlook_each", width=420)
    table = per_class(ranked.suspicion, chance, ranked.labels, classes=len(names), precision=share / 100)
    st.dataframe(
        table.assign(label=[names[label] for label in table["label"]]), hide_index=True,
        column_config={
            "label": "given label", "count": st.column_config.NumberColumn("to look at", format="localized"),
            "samples": st.column_config.NumberColumn("images", format="localized"),
            "threshold": st.column_config.NumberColumn("suspicion from", format="%.4g"),
            "precision": st.column_config.NumberColumn("expected wrong among them", format="percent"),
            "recall": st.column_config.NumberColumn("of the class's errors", format="percent"),
            "wrong": st.column_config.NumberColumn("errors expected in the class", format="%.0f"),
        },
    )  # fmt: skip
