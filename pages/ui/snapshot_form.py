"""Second part of the Score page: one sample of the training set under every snapshot of a tuning (Fig. 3)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import streamlit as st

from fvm_core.models.store import ModelRecord
from fvm_core.workspace import Workspace
from pages.ui import score_jobs, selection
from pages.ui.links import link
from pages.ui.score_form import busy_runs, role_title, run_name
from pages.ui.score_sets import ScoreFile
from pages.ui.text import plain


def draw(workspace: Workspace, models: Mapping[str, ModelRecord], files: Sequence[ScoreFile]) -> None:
    """Draw the form; dataset and validation set are those chosen for scoring."""
    st.header("Scores over tuning snapshots", anchor="snapshots")
    st.markdown(
        "Does the standard influence fade while a model is tuned towards the minimum, and does the influence at the "
        "minimum gain (Fig. 3 of the paper)? A sample of the training set is scored under each kept snapshot."
    )
    able = [name for name, record in models.items() if len(record.snapshots) >= 2]
    if not able:
        st.info("No model has snapshots yet: tuning keeps them.", icon=":material/timeline:")
        link("tune", "Tune a model")
        return
    with st.container(border=True):
        one, two, three = st.columns([2, 1, 1])
        preferred = [name for name in able if models[name].role == "fvm"] or able
        model = one.selectbox(
            "Tuned model", able, index=able.index(preferred[-1]), key="snapshots_model",
            format_func=lambda name: f"{role_title(models[name])} · {len(models[name].snapshots)} snapshots",
        )  # fmt: skip
        sample = two.number_input("Sample size", min_value=10, value=2000, step=500, key="snapshots_sample")
        seed = three.number_input("Seed", min_value=0, value=0, step=1, key="snapshots_seed")
        dataset, validation = selection.selected("dataset"), selection.selected("validation")
        st.caption(f"Training set: {plain(dataset)} · validation set: {plain(validation)} (as chosen above)")
        run = run_name(model, dataset or "", files)
        args = {
            "model": model, "dataset": dataset, "validation": validation, "sample": int(sample), "seed": int(seed),
            "run": run,
        }  # fmt: skip
        if run in busy_runs(workspace, "snapshots"):
            st.caption(f"A job is already writing the scores of `{run}`: wait for it above, or stop it.")
            return
        pressed = st.button("Score the snapshots", key="snapshots_start", icon=":material/timeline:")
        if pressed and score_jobs.start(workspace, "snapshots", args, f"Snapshots of {model}"):
            st.rerun()
