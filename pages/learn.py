"""Learn page: the paper by playing. It reads widgets, calls fvm_core and draws."""

from __future__ import annotations

import streamlit as st

from fvm_core.workspace import Workspace, current_workspace
from pages.ui import learn_bound, learn_fading, learn_flag, learn_landscape, learn_risk, learn_sam, take_away, tour
from pages.ui.errors import shown
from pages.ui.learn_questions import PARTS
from pages.ui.score_sets import ScoreFile, listed


def main() -> None:
    workspace = current_workspace()
    st.title("Learn")
    st.markdown("Why flat minima make influence scores trustworthy: the paper's figures and formulas, to play with.")
    with take_away.choices():
        st.space("stretch")
        tour.invitation(workspace)
    with shown():
        files, snapshots = listed(workspace)
    tabs = st.tabs(list(PARTS.values()), key="learn_tab", bind="query-params")
    for name, tab in zip(PARTS, tabs, strict=True):
        if tab.open:
            with tab, shown(stop=False):
                _part(name, workspace, files, snapshots)


def _part(name: str, workspace: Workspace, files: list[ScoreFile], snapshots: list[ScoreFile]) -> None:
    if name == "risk":
        learn_risk.draw()
    elif name == "sam":
        learn_sam.draw()
    elif name == "landscape":
        learn_landscape.draw(workspace)
    elif name == "fading":
        learn_fading.draw(snapshots)
    elif name == "bound":
        learn_bound.draw(workspace, snapshots)
    else:
        learn_flag.draw(workspace, files)


main()
