"""The guided tour of the main job: a slim bar on every page that shows the next step, left and taken up at will.

Whether it is on is kept in the workspace (tour.json); how far it is, is read from what the workspace holds.
"""

from __future__ import annotations

import streamlit as st

from fvm_core.errors import DataError, FVMError
from fvm_core.files import read_json, write_json
from fvm_core.workspace import Workspace
from pages.ui import progress
from pages.ui.errors import shown
from pages.ui.links import PAGES, link

MARKS = {progress.DONE: ":green[:material/check_circle:]", progress.LATER: ":gray[:material/circle:]"}


def is_on(workspace: Workspace) -> bool:
    """Return whether the tour is being taken; off at first, and when its file cannot be read."""
    path = workspace.root / "tour.json"
    try:
        return path.exists() and read_json(path, what="the tour's state").get("on") is True
    except (DataError, AttributeError):
        return False


def switch(workspace: Workspace, on: bool) -> None:
    """Take the tour up, or leave it; shown is why the workspace refused."""
    try:
        write_json(workspace.root / "tour.json", {"on": on})
    except FVMError as error:
        st.session_state["tour_error"] = str(error)


def draw(workspace: Workspace) -> None:
    """Draw the bar, if the tour is on: each step with its state, the next one as a link, and the way out."""
    if not is_on(workspace):
        return
    with (
        shown(stop=False),
        st.container(horizontal=True, vertical_alignment="center", gap="small", border=True, key="tour_bar"),
    ):
        steps = progress.find_steps(workspace)
        st.markdown("**Tour**", width="content")
        for step in steps:
            if step.state == progress.NEXT:
                link(step.page, f"**Next: {PAGES[step.page].title}**", help=step.does)
            else:
                st.markdown(f"{MARKS[step.state]} {PAGES[step.page].title}", width="content")
        if all(step.state == progress.DONE for step in steps):
            st.markdown("**all done**", width="content")
        st.space("stretch")
        st.button("Leave", key="tour_leave", type="tertiary", on_click=switch, args=(workspace, False))


def invitation(workspace: Workspace) -> None:
    """Draw the button that takes the tour up, while it is off."""
    if error := st.session_state.pop("tour_error", ""):
        st.error(error)
    if not is_on(workspace):
        st.button(
            "Guided tour of the main job", key="tour_start", icon=":material/tour:", type="tertiary", on_click=switch,
            args=(workspace, True), help="A bar on every page shows the next step: load, tune, score, compare, review",
        )  # fmt: skip
