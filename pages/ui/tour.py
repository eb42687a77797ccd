"""The guided tour of the main job: a slim bar on every page that shows the next step, left and taken up at will.

Kept in the workspace (tour.json): whether it is on, and which steps were seen on it. A step is behind one when the
workspace holds what it makes and its page was open since; so the tour leads through work that the demo has done, too.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import streamlit as st

from fvm_core.errors import DataError, FVMError
from fvm_core.files import read_json, write_json
from fvm_core.workspace import Workspace
from pages.ui import progress, tour_hints
from pages.ui.errors import shown
from pages.ui.links import PAGES, link
from pages.ui.text import message

DONE, OPEN = ":green[:material/check_circle:]", ":gray[:material/circle:]"
HERE = ":blue-background[:material/location_on: **{}**]"


def _file(workspace: Workspace) -> Path:
    return workspace.root / "tour.json"


def _read(workspace: Workspace) -> dict[str, object]:
    try:
        return dict(read_json(_file(workspace), what="the tour's state")) if _file(workspace).exists() else {}
    except (DataError, TypeError, ValueError):
        return {}


def is_on(workspace: Workspace) -> bool:
    """Return whether the tour is being taken; off at first, and when its file cannot be read."""
    return _read(workspace).get("on") is True


def seen(workspace: Workspace) -> tuple[str, ...]:
    """Return the pages that were seen on the tour with their work done, in the order of the steps."""
    listed = _read(workspace).get("seen")
    return tuple(page for page in tour_hints.HINTS if isinstance(listed, list) and page in listed)


def switch(workspace: Workspace, on: bool, *, again: bool = False) -> None:
    """Take the tour up, or leave it, where it stands or `again` from its start; shown is why the workspace refused."""
    try:
        write_json(_file(workspace), {"on": on, "seen": [] if again else list(seen(workspace))})
    except FVMError as error:
        st.session_state["tour_error"] = str(error)


def following(steps: Sequence[progress.Step], behind: Sequence[str]) -> str:
    """Return the page of the first step that is not both done and in `behind`, "" when there is none.

    >>> following(progress.steps(datasets=1, models={"base": 1}, scores=0, decisions=0), ())
    'load'
    """
    return next((step.page for step in steps if step.state != progress.DONE or step.page not in behind), "")


def draw(workspace: Workspace, page: str) -> None:
    """Draw the bar above `page` (a key of PAGES), if the tour is on: the steps, the next one, and what to do here."""
    if not is_on(workspace):
        return
    with shown(stop=False), st.container(border=True, gap="xsmall", key="tour_bar"):
        steps = progress.find_steps(workspace)
        behind = seen(workspace)
        if any(step.page == page and step.state == progress.DONE for step in steps) and page not in behind:
            behind = (*behind, page)
            write_json(_file(workspace), {"on": True, "seen": list(behind)})
        coming = following(steps, behind)
        with st.container(horizontal=True, vertical_alignment="center", gap="small"):
            st.markdown("**Tour**", width="content")
            for step in steps:
                _station(step, page, coming=coming, behind=behind)
            st.space("stretch")
            if not coming:
                st.button("Again", key="tour_again", type="tertiary", on_click=switch, args=(workspace, True),
                          kwargs={"again": True})  # fmt: skip
            st.button("Leave", key="tour_leave", type="tertiary", on_click=switch, args=(workspace, False))
        _advice(page, steps, coming)


def _station(step: progress.Step, page: str, *, coming: str, behind: Sequence[str]) -> None:
    title = PAGES[step.page].title
    if step.page == page:
        st.markdown(HERE.format(title), width="content")
    elif step.page == coming:
        link(step.page, f"**Next: {title}**", help=step.does)
    else:
        passed = step.state == progress.DONE and step.page in behind
        st.markdown(f"{DONE if passed else OPEN} {title}", width="content")


def _advice(page: str, steps: Sequence[progress.Step], coming: str) -> None:
    """Say what to do on this page, or, where its work is done, what to look at, with the answer behind a mark."""
    hint = tour_hints.HINTS.get(page)
    state = {step.page: step.state for step in steps}.get(page)
    if hint is not None and state == progress.DONE:
        st.markdown(f"{hint.look}", help=hint.answer)
        if not coming:
            st.markdown(tour_hints.END)
    elif hint is not None:
        st.markdown(hint.do)
    elif page == "home" and coming == "load":
        st.markdown(tour_hints.START)
    elif not coming:
        st.markdown(tour_hints.END)


def invitation(workspace: Workspace) -> None:
    """Draw the button that takes the tour up, while it is off."""
    if error := st.session_state.pop("tour_error", ""):
        st.error(message(error))
    if not is_on(workspace):
        label = "Go on with the guided tour" if seen(workspace) else "Guided tour of the main job"
        st.button(
            label, key="tour_start", icon=":material/tour:", type="tertiary", on_click=switch, args=(workspace, True),
            help="A bar on every page shows the next step: load, tune, score, compare, review",
        )  # fmt: skip
