"""Home: what the app does, the demo, how far one is, and what ran last."""

from __future__ import annotations

import streamlit as st

from fvm_core.jobs.status import JobStatus, list_jobs
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import errors, job_view, links, progress
from pages.ui.text import plain
from pages.ui.times import ago

DEMO_TITLE = "Demo: handwritten digits"
STATES = {
    progress.DONE: ("done", "green", ":material/check:"),
    progress.NEXT: ("next", "blue", ":material/arrow_forward:"),
    progress.LATER: ("later", "gray", ":material/more_horiz:"),
}


def introduction() -> None:
    st.title("Find the wrong labels in your images")
    st.markdown(
        "FVM Studio takes a trained image classifier and its noisy training set and finds the samples whose labels are "
        "probably wrong. It first tunes the model to a **flat minimum of the loss on a small clean validation set** "
        "(FVM), because influence scores are only trustworthy there. You then review the flagged images, with a "
        "suggested label for each, and take the corrected labels home."
    )


def demo(workspace: Workspace, latest: JobStatus | None) -> None:
    with st.container(border=True):
        text, button = st.columns([3, 1], vertical_alignment="center")
        text.markdown(
            "**No data at hand?** 1,300 handwritten digits with planted label noise come with the app. "
            "Tuning, scoring and relabeling them takes under a minute on two cores."
        )
        if latest is None or not latest.active:
            button.button(
                "Try the demo" if latest is None else "Run the demo again",
                type="primary" if latest is None else "secondary",
                icon=":material/play_arrow:",
                width="stretch",
                on_click=job_view.start,
                args=(workspace, "demo", {}, DEMO_TITLE),
                key="start_demo",
            )
        job_view.show_error()
        if latest is not None:
            status = job_view.watch(workspace, latest.id, key="demo")
            if status.state == "done":
                with st.container(horizontal=True):
                    links.link("compare", "Compare the methods")
                    links.link("review", "Review the flagged digits")


def step_list(workspace: Workspace) -> None:
    st.subheader("The way through")
    with st.container(border=True, gap="xsmall"):
        for number, step in enumerate(progress.find_steps(workspace), start=1):
            word, colour, icon = STATES[step.state]
            name, does, found, state = st.columns([1.5, 5.2, 2, 0.9], vertical_alignment="center")
            with name:
                links.link(step.page, f"**{number}\u2002{links.PAGES[step.page].title}**")
            does.markdown(step.does)
            found.caption(step.found)
            state.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]


@st.fragment(run_every=3)
def live_step_list(workspace: Workspace) -> None:
    with errors.shown(), st.container(key="live_steps"):
        step_list(workspace)


def last_sessions(jobs: list[JobStatus]) -> None:
    st.subheader("Last sessions")
    if not jobs:
        st.caption("Nothing has run yet. Training, tuning and scoring will be listed here.")
        return
    for status in jobs[:5]:
        with st.container(horizontal=True, vertical_alignment="center"):
            job_view.badge(status)
            st.markdown(f"{plain(status.title)} · {ago(status.updated or status.created)}", width="content")
    links.link("jobs", "All jobs")


def main() -> None:
    workspace = current_workspace()
    introduction()
    with errors.shown():
        jobs = list_jobs(workspace)
        demo(workspace, next((status for status in jobs if status.kind == "demo"), None))
        busy = any(status.active for status in jobs)
        (live_step_list if busy else step_list)(workspace)
        last_sessions(jobs)


main()
