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
    progress.UNDER_WAY: ("under way", "blue", ":material/play_arrow:"),
    progress.NEXT: ("next", "blue", ":material/arrow_forward:"),
    progress.LATER: ("later", "gray", ":material/more_horiz:"),
}
NAME_WIDTH, STATE_WIDTH = 120, 100


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
        st.markdown(
            "**No data at hand?** 1,300 handwritten digits with planted label noise come with the app. "
            "Tuning, scoring and relabeling them takes under a minute on two cores."
        )
        job_view.show_error()
        if latest is not None:
            latest = job_view.watch(workspace, latest.id, key="demo")
        with st.container(horizontal=True, vertical_alignment="center"):
            if latest is not None and latest.state == "done":
                links.link("compare", "Compare the methods")
                links.link("review", "Review the flagged digits")
            if latest is None or not latest.active:
                st.button(
                    "Try the demo" if latest is None else "Run the demo again",
                    type="primary" if latest is None else "tertiary",
                    icon=":material/play_arrow:",
                    on_click=job_view.start,
                    args=(workspace, "demo", {}, DEMO_TITLE),
                    key="start_demo",
                )


def step_list(workspace: Workspace, jobs: list[JobStatus]) -> None:
    st.subheader("The way through")
    with st.container(border=True, gap="small"):
        for number, step in enumerate(progress.find_steps(workspace, jobs), start=1):
            word, colour, icon = STATES[step.state]
            with st.container(horizontal=True, vertical_alignment="center", gap="small"):
                with st.container(width=NAME_WIDTH):
                    links.link(step.page, f"**{number}\u2002{links.PAGES[step.page].title}**")
                with st.container(width=STATE_WIDTH):
                    st.badge(word, icon=icon, color=colour)  # type: ignore[arg-type]
                with st.container(horizontal=True, vertical_alignment="center", gap="xxsmall"):
                    st.markdown(step.does, width="stretch")
                    if step.found:
                        st.caption(step.found, width="content")


@st.fragment(run_every=3)
def live_step_list(workspace: Workspace) -> None:
    with errors.shown(), st.container(key="live_steps"):
        step_list(workspace, list_jobs(workspace))


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


@st.fragment(run_every=1)
def live_last_sessions(workspace: Workspace) -> None:
    with errors.shown(), st.container(key="live_sessions"):
        jobs = list_jobs(workspace)
        last_sessions(jobs)
    if not any(status.active for status in jobs):
        st.rerun()


def main() -> None:
    workspace = current_workspace()
    introduction()
    with errors.shown():
        jobs = list_jobs(workspace)
        demo(workspace, next((status for status in jobs if status.kind == "demo"), None))
        if any(status.active for status in jobs):
            live_step_list(workspace)
            live_last_sessions(workspace)
        else:
            step_list(workspace, jobs)
            last_sessions(jobs)


main()
