"""Compare page: standard, VM and FVM scores and their baselines on one dataset, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from fvm_core.workspace import current_workspace
from pages.ui import tab_agreement, tab_detection, tab_disagreement, tab_distributions, tab_snapshots
from pages.ui.columns import USUAL, ask
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.score_sets import (
    SHORT,
    ScoreFile,
    by_fingerprint,
    by_run,
    default_methods,
    listed,
    selected_runs,
)
from pages.ui.text import plain
from pages.ui.theme import model_title

TABS = ["Distributions", "Detection", "Tuning snapshots", "Agreement", "Disagreement"]


def main() -> None:
    workspace = current_workspace()
    st.title("Compare")
    st.markdown("Do the methods find the wrong labels, do they agree, and is the influence score worth its cost?")
    with shown():
        files, snapshots = listed(workspace)
    if not files and not snapshots:
        st.info("There are no scores to compare yet.", icon=":material/compare_arrows:")
        link("score", "Score a dataset under one or more models")
        return
    fingerprint = _dataset(files or snapshots, files)
    everything = [item for item in files if item.fingerprint == fingerprint]
    chosen = _methods(everything) if everything else []
    _draw(chosen, everything, [item for item in snapshots if item.fingerprint == fingerprint])
    ask(max(len({item.method for item in chosen}), USUAL))  # here, so that no tab has to wait for it


def _dataset(known: Sequence[ScoreFile], files: Sequence[ScoreFile]) -> str:
    """Draw the choice of dataset if there is more than one fingerprint, and say why others cannot be mixed in."""
    groups = by_fingerprint(known)
    if len(groups) == 1:
        return next(iter(groups))
    labels = {
        key: f"{items[0].dataset} · {len(items)} score file{'s' if len(items) > 1 else ''} · {key[:8]}"
        for key, items in groups.items()
    }
    left, right = st.columns([1.3, 1], vertical_alignment="bottom")
    chosen = left.selectbox("Dataset", list(groups), format_func=labels.__getitem__, key="compare_dataset")
    others = [item for item in files if item.fingerprint != chosen]
    if others:
        names = sorted({plain(item.dataset) for item in others})
        same = any(item.dataset == groups[chosen][0].dataset for item in others)
        why = " One of them has the same name, but its labels or images have changed since." if same else ""
        right.caption(
            f"{len(others)} more score file{'s' if len(others) > 1 else ''} cannot join in: they score another dataset "
            f"({', '.join(names)}), so their samples are not the same.{why}"
        )
    return chosen


def _methods(files: Sequence[ScoreFile]) -> list[ScoreFile]:
    """Draw the choice of runs and, for each, of its methods."""
    runs = by_run(files)
    key = f"compare_runs_{files[0].fingerprint[:12]}"
    chosen: list[ScoreFile] = []
    summary = st.container()
    panel = st.expander(
        "Choose runs and methods", icon=":material/checklist:", expanded=len(files) < 2, key="compare_choice",
        on_change="rerun",
    )  # fmt: skip
    with panel:  # what is chosen holds while the panel is closed, too; its pills are drawn when it opens
        row = _row if panel.open else _picked
        picked = row(
            "**Runs**", list(runs), key=key, default=selected_runs(runs), titles={run: plain(run) for run in runs}
        )  # fmt: skip
        for run in (run for run in runs if run in picked):
            items = {item.method: item for item in runs[run]}
            methods = row(
                _heading(runs[run][0]), list(items), key=f"compare_methods_{run}", default=default_methods(runs[run]),
                titles=SHORT,
            )  # fmt: skip
            chosen += [item for method, item in items.items() if method in methods]
    summary.caption(_summary(chosen, files))
    return chosen


def _summary(chosen: Sequence[ScoreFile], files: Sequence[ScoreFile]) -> str:
    """Return one line of Markdown: what is compared."""
    parts = [f"{len(chosen)} of {len(files)} scores of {plain(files[0].dataset)}"]
    for run, items in by_run(chosen).items():
        parts.append(f"**{plain(run)}**: " + ", ".join(SHORT[item.method] for item in items))
    return " · ".join(parts)


def _row(heading: str, options: list[str], *, key: str, default: list[str], titles: Mapping[str, str]) -> list[str]:
    """Draw a heading and, beside it, the options as pills; returns those picked."""
    if key in st.session_state:
        st.session_state[key] = [option for option in st.session_state[key] if option in options]
    left, right = st.columns([1, 3.2], vertical_alignment="center")
    left.markdown(heading)
    return right.pills(
        heading, options, selection_mode="multi", key=key, default=None if key in st.session_state else default,
        format_func=lambda option: titles[option], label_visibility="collapsed", persist_state="session",
    )  # fmt: skip


def _picked(heading: str, options: list[str], *, key: str, default: list[str], titles: Mapping[str, str]) -> list[str]:
    """Return what `_row` would, without drawing it."""
    return [option for option in st.session_state.get(key, default) if option in options]


def _heading(item: ScoreFile) -> str:
    return f"**{plain(model_title(item.role, item.solver))}** · {plain(item.run)}"


@st.fragment
def _draw(chosen: list[ScoreFile], everything: list[ScoreFile], snapshots: list[ScoreFile]) -> None:
    """Draw the open tab only; another one runs this part alone, not the page.

    What a tab shows stands below the tabs, not in them: Streamlit's tabs look through all that is in them, in search of
    something to focus, whenever they are drawn, which took longer than to draw a chart.
    """
    tabs = st.tabs(TABS, key="compare_tab", bind="query-params")
    for name, tab in zip(TABS, tabs, strict=True):
        if tab.open:
            _tab(name, chosen, everything, snapshots)


@st.fragment
def _tab(name: str, chosen: list[ScoreFile], everything: list[ScoreFile], snapshots: list[ScoreFile]) -> None:
    """Draw what one tab shows; its own widgets run it alone, not the page."""
    with st.container(key=f"compare_part_{TABS.index(name)}"), shown(stop=False):
        if name == "Tuning snapshots":
            tab_snapshots.draw(snapshots)
        elif not chosen:
            st.info("Choose at least one run and one method above.", icon=":material/arrow_upward:")
        elif name == "Distributions":
            tab_distributions.draw(chosen)
        elif name == "Detection":
            tab_detection.draw(chosen, everything)
        elif name == "Agreement":
            tab_agreement.draw(chosen)
        else:
            tab_disagreement.draw(chosen)


main()
