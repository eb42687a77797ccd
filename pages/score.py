"""Score page: every training sample under one or more models, by the chosen methods, as jobs."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.registry import list_datasets
from fvm_core.influence.methods import DEFAULT_METHODS, METHODS
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import score_jobs, score_list, selection, snapshot_form
from pages.ui.errors import shown
from pages.ui.links import link
from pages.ui.score_form import (
    Checkpoint,
    Planned,
    busy_runs,
    checkpoints_of,
    likely_sets,
    methods_table,
    newest_of_each_role,
    plan,
    role_title,
)
from pages.ui.score_sets import ScoreFile, listed
from pages.ui.score_settings import choose_settings
from pages.ui.text import plain


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
        link("home", "Try the built-in demo")
        link("load", "Load a dataset and a checkpoint")
        return
    with shown():
        files, snapshots = listed(workspace)
    _scoring(workspace, models, list(datasets), files)
    score_jobs.progress(workspace)
    snapshot_form.draw(workspace, models, [*files, *snapshots])
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
        checkpoints = _checkpoints(models)
        left, right = st.columns(2)
        known = [*(name for name, _ in checkpoints), *chosen]
        training, sound = likely_sets(datasets, models[known[-1]] if known else None)
        with left:
            dataset = selection.choose(
                "dataset", datasets, label="Training set to score", prefer=lambda name: name == training
            )
        with right:
            validation = selection.choose(
                "validation", datasets, label="Clean validation set", prefer=lambda name: name == sound,
                help="Gives the Fisher matrix of the influence score and the gradient of the standard one",
            )  # fmt: skip
        methods = st.pills(
            "Methods", list(METHODS), selection_mode="multi", default=list(DEFAULT_METHODS), key="score_methods",
            format_func=lambda key: METHODS[key].title,
        )  # fmt: skip
        with st.expander("What the methods measure, and their signs", icon=":material/menu_book:"):
            st.table(methods_table().set_index("Method"), border="horizontal")
            st.caption(
                "Each score is stored with its own sign, and as *suspicion*: the same score turned so that larger is "
                "more suspicious."
            )
        with shown():
            settings = choose_settings(methods)
        if dataset == validation:
            st.warning(
                "The training set is also chosen as the validation set. The scores need a *clean* validation set that "
                "the training set does not contain.",
                icon=":material/warning:",
            )
        if not known or not methods:
            st.caption("Choose at least one model and one method.")
            st.button("Score", type="primary", disabled=True, key="score_start", icon=":material/play_arrow:")
            return
        assert dataset is not None and validation is not None
        untraced = [name for name in chosen if "tracin" in methods and not models[name].checkpoints]
        planned = plan(
            chosen, dataset=dataset, validation=validation, methods=methods, settings=settings.to_json(), files=files,
            checkpoints=checkpoints, untraced=untraced,
        )  # fmt: skip
        if untraced:
            st.caption(
                f"TracIn needs the checkpoints of a training run: {', '.join(map(plain, untraced))} "
                f"{'has' if len(untraced) == 1 else 'have'} none and {'is' if len(untraced) == 1 else 'are'} scored "
                "without it."
            )
        if not planned:
            st.button("Score", type="primary", disabled=True, key="score_start", icon=":material/play_arrow:")
            return
        busy = busy_runs(workspace, "score")
        waiting = [job for job in planned if job.run in busy]
        _announce(planned, waiting)
        label = "Score with 1 model" if len(planned) == 1 else f"Score with {len(planned)} models"
        if st.button(label, type="primary", key="score_start", icon=":material/play_arrow:", disabled=bool(waiting)):
            started = [score_jobs.start(workspace, "score", job.args, job.title) for job in planned]
            if all(started):
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


def _checkpoints(models: dict[str, ModelRecord]) -> list[Checkpoint]:
    """Draw the choice of weights from the middle of a training run, if any were kept; none are chosen at first."""
    kept = checkpoints_of(models)
    if not kept:
        return []
    st.session_state["score_checkpoints"] = [
        item for item in st.session_state.get("score_checkpoints", []) if tuple(item) in kept
    ]
    return st.multiselect(
        "Training checkpoints", kept, key="score_checkpoints", placeholder="None: only the final weights above",
        format_func=lambda item: f"{item[0]} · epoch {item[1]}", persist_state="session",
        help="Weights that training kept on its way. Estimators of the paper marked * take the epoch that finds the "
        "wrong labels best: score several and compare",
    )  # fmt: skip


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


main()
