"""Score page: every training sample under one or more models, by the chosen methods, as jobs."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fvm_core.data.registry import list_datasets
from fvm_core.influence.methods import METHODS
from fvm_core.influence.settings import ScoreSettings
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import job_view, score_list, selection
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.score_form import (
    DEFAULTS,
    LISSA,
    RELABEL,
    Planned,
    busy_runs,
    methods_table,
    newest_of_each_role,
    plan,
    role_title,
)
from pages.ui.score_sets import ScoreFile, listed
from pages.ui.text import plain

STARTED = "score_jobs"


def main() -> None:
    workspace = current_workspace()
    st.title("Score")
    st.markdown(
        "Each method gives every training sample a number under a model. Sorted by *suspicion*, likely wrong labels "
        "come first."
    )
    with shown():
        models, datasets = list_models(workspace), list_datasets(workspace)
    if not models or not datasets:
        missing = " and ".join(
            word for word, there in (("a model", models), ("a training and a validation set", datasets)) if not there
        )
        st.info(f"There is nothing to score yet: the workspace lacks {missing}.", icon=":material/scoreboard:")
        link("load", "Load a dataset and a checkpoint, or the built-in demo")
        return
    with shown():
        files, _ = listed(workspace)
    _scoring(workspace, models, list(datasets), files)
    _progress(workspace)
    _snapshots(workspace, models, list(datasets))
    st.header("Score files", anchor="files")
    if files:
        score_list.draw(files)
        link("compare", "Compare these scores")
    else:
        st.caption("None yet. A finished scoring job puts one file for each method here.")


def _scoring(workspace: Workspace, models: dict[str, ModelRecord], datasets: list[str], files: list[ScoreFile]) -> None:
    """Draw the form of the first part and start its jobs."""
    with st.container(border=True):
        chosen = _models(models)
        left, right = st.columns(2)
        with left:
            dataset = selection.choose("dataset", datasets, label="Training set to score")
        with right:
            validation = selection.choose(
                "validation", datasets, label="Clean validation set",
                help="Gives the Fisher matrix of the influence score and the gradient of the standard one",
            )  # fmt: skip
        methods = st.pills(
            "Methods", list(METHODS), selection_mode="multi", default=list(METHODS), key="score_methods",
            format_func=lambda key: METHODS[key].title,
        )  # fmt: skip
        with st.expander("What the methods measure, and their signs", icon=":material/menu_book:"):
            st.table(methods_table().set_index("Method"), border="horizontal")
            st.caption(
                "Each score is stored with its own sign, and as *suspicion*: the same score turned so that larger is "
                "more suspicious."
            )
        with shown():
            settings = _settings("standard" in methods)
        if dataset == validation:
            st.warning(
                "The training set is also chosen as the validation set. The scores need a *clean* validation set that "
                "the training set does not contain.",
                icon=":material/warning:",
            )
        if not chosen or not methods:
            st.caption("Choose at least one model and one method.")
            st.button("Score", type="primary", disabled=True, key="score_start", icon=":material/play_arrow:")
            return
        assert dataset is not None and validation is not None
        planned = plan(
            chosen, dataset=dataset, validation=validation, methods=methods, settings=settings.to_json(), files=files
        )  # fmt: skip
        busy = busy_runs(workspace)
        waiting = [job for job in planned if job.run in busy]
        _announce(planned, waiting)
        label = "Score with 1 model" if len(planned) == 1 else f"Score with {len(planned)} models"
        if st.button(label, type="primary", key="score_start", icon=":material/play_arrow:", disabled=bool(waiting)):
            for job in planned:
                _start(workspace, "score", job.args, job.title)
            st.rerun()


def _models(models: dict[str, ModelRecord]) -> list[str]:
    """Draw the choice of models; it starts at the newest base, VM and FVM."""
    if "score_models" in st.session_state:
        st.session_state["score_models"] = [name for name in st.session_state["score_models"] if name in models]
    else:
        linked = st.query_params.get("model")
        st.session_state["score_models"] = [linked] if linked in models else newest_of_each_role(models)
    return st.multiselect(
        "Models", list(models), key="score_models", format_func=lambda name: role_title(models[name]),
        help="Each model is scored by a job of its own", placeholder="Choose models", persist_state="session",
    )  # fmt: skip


def _settings(standard: bool) -> ScoreSettings:
    """Draw the settings and return them; the defaults are those of the command line.

    Raises:
        SettingsError: a value is out of range.
    """
    one, two, three, four = st.columns([1, 1, 2, 1])
    typed: dict[str, Any] = {
        "damping": one.number_input(
            "Damping", min_value=0.0, value=DEFAULTS.damping, step=1e-8, format="%.1e", key="score_damping",
            help="Added to every entry of the Fisher diagonal (Eq. 21)",
        ),
        "batch_size": two.number_input(
            "Batch size", min_value=1, max_value=4096, value=DEFAULTS.batch_size, step=16, key="score_batch"
        ),
        "relabel": three.selectbox(
            "Suggested labels", list(RELABEL), index=list(RELABEL).index(DEFAULTS.relabel), key="score_relabel",
            format_func=RELABEL.__getitem__,
            help="The suggestion is the class whose own score is least suspicious (Eq. 22)",
        ),
        "limit": four.number_input(
            "Limit", min_value=1, value=None, step=100, key="score_limit", placeholder="all",
            help="Score only a random sample of so many; leave it empty to score all",
        ),
    }  # fmt: skip
    if standard:
        with st.expander("Settings of the standard influence (LiSSA)", icon=":material/settings:"):
            for column, (key, (label, help_text)) in zip(st.columns(len(LISSA)), LISSA.items(), strict=True):
                whole = key in ("lissa_depth", "lissa_repeats")
                typed[key] = column.number_input(
                    label, min_value=1 if whole else 0.0, value=getattr(DEFAULTS, key), key=f"score_{key}",
                    step=1 if whole else None, help=help_text, placeholder="automatic",
                    format=None if whole else "%.4g",
                )  # fmt: skip
    return ScoreSettings(**typed)


def _announce(planned: list[Planned], waiting: list[Planned]) -> None:
    """Say where the scores go, what would be replaced, and which runs are being written already."""
    if waiting:
        names = ", ".join(f"`{job.run}`" for job in waiting)
        st.caption(f"A job is already writing the scores of {names}: wait for it below, or stop it.")
        return
    names = ", ".join(f"`{job.run}`" for job in planned)
    replaced = sum(job.replaces for job in planned)
    tail = (
        f" {replaced} score file{'s' if replaced > 1 else ''} of an earlier run will be replaced." if replaced else ""
    )
    st.caption(f"One job a model; the scores go to {names}.{tail}")


def _start(workspace: Workspace, kind: str, args: dict[str, Any], title: str) -> None:
    with shown(stop=False):
        job = start_job(workspace, kind, args, title=title)
        st.session_state[STARTED] = [*st.session_state.get(STARTED, []), job]


def _progress(workspace: Workspace) -> None:
    """Draw scoring jobs that are at work, whoever started them, and those that this session started."""
    mine = st.session_state.get(STARTED, [])
    with shown(stop=False):
        jobs = [
            job for job in list_jobs(workspace) if job.kind in ("score", "snapshots") and (job.active or job.id in mine)
        ]
        if not jobs:
            return
        st.header("In progress" if any(job.active for job in jobs) else "Just finished", anchor="progress")
        for job in sorted(jobs, key=lambda job: job.created):
            with st.container(border=True):
                job_view.watch(workspace, job.id, key="score")
    if any(job.state == "done" for job in jobs):
        link("compare", "Compare the scores")


def _snapshots(workspace: Workspace, models: dict[str, ModelRecord], datasets: list[str]) -> None:
    """Draw the second part: one sample of the training set under every snapshot of a tuning (Fig. 3)."""
    st.header("Scores over tuning snapshots", anchor="snapshots")
    st.markdown(
        "How the standard influence fades while a model is tuned towards the minimum, and how the influence at the "
        "minimum gains (Fig. 3 of the paper). A sample of the training set is scored under each kept snapshot."
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
        args = {
            "model": model, "dataset": dataset, "validation": validation, "sample": int(sample), "seed": int(seed),
            "run": model,
        }  # fmt: skip
        if model in busy_runs(workspace):
            st.caption(f"A job is already writing the scores of `{model}`: wait for it above, or stop it.")
            return
        if st.button("Score the snapshots", key="snapshots_start", icon=":material/timeline:"):
            _start(workspace, "snapshots", args, f"Snapshots of {model}")
            st.rerun()


main()
