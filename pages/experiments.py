"""Experiments page: the paper's tables and figures on your own data and models, beside the published ones."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.registry import list_datasets
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.models.store import list_models
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import experiment_form, experiment_view, job_view
from pages.ui.errors import shown
from pages.ui.links import link

KIND = "reproduce"


def start(workspace: Workspace, *, busy: bool) -> None:
    """Draw the form, the expected cost, and the button."""
    datasets, models = list_datasets(workspace), list_models(workspace)
    with st.expander("Run an experiment", icon=":material/science:", expanded=not busy, key=f"experiment_form_{busy}"):
        asked = None
        with shown(stop=False):
            asked = experiment_form.ask(workspace, datasets, models)
            if asked is not None:
                experiment_form.show_cost(asked[1], workspace)
        if st.button("Start", type="primary", icon=":material/play_arrow:", key="experiment_start", disabled=not asked):
            assert asked is not None
            grid, _ = asked
            with shown(stop=False):
                start_job(workspace, KIND, grid.to_json(), title=f"Experiment {grid.title}: {', '.join(grid.what)}")
                st.rerun()


def progress(workspace: Workspace) -> None:
    """Draw the experiments that run or wait, and the last one if it can be resumed or had failures."""
    jobs = [status for status in list_jobs(workspace) if status.kind == KIND]
    last = [status for status in jobs[:1] if status.resumable or (status.result or {}).get("failed")]
    for status in [*filter(lambda status: status.active, jobs), *last]:
        with st.container(border=True):
            job_view.watch(workspace, status.id, key="experiment")
            failed = (status.result or {}).get("failed", {})
            if failed:
                st.warning(
                    f"{sum(failed.values())} cells could not be filled; the tables say which and why.",
                    icon=":material/warning:",
                )


def main() -> None:
    workspace = current_workspace()
    st.title("Experiments")
    st.markdown(
        "The paper's tables and figures on any dataset whose clean labels are known: mean and standard deviation over "
        "seeds, the published figures beside them, plain baselines of the same models too. What was trained, tuned "
        "and scored for one table is used by all."
    )
    with shown():
        busy = any(status.active and status.kind == KIND for status in list_jobs(workspace))
        if list_datasets(workspace):
            start(workspace, busy=busy)
        else:
            st.info(
                "There is nothing to experiment with yet: the workspace lacks a dataset.", icon=":material/science:"
            )
            link("load", "Load a noisy dataset with known clean labels, and a clean validation set")
        progress(workspace)
        st.header("Results", anchor="results")
        experiment_view.draw(workspace)


main()
