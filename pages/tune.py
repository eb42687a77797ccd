"""Tune: from a checkpoint to a flat minimum of the clean loss, with the curves live."""

from __future__ import annotations

from dataclasses import replace

import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.registry import list_datasets
from fvm_core.data.validation import check_validation
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import job_status, list_jobs
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.tuning.settings import TuneSettings
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import errors, job_view, links, selection, solver_form, tune_done, tune_form, tune_watch
from pages.ui.curves import TRAINING_PANELS, TUNING_PANELS, legend, panel
from pages.ui.open_data import open_cached
from pages.ui.overlap_view import cleared
from pages.ui.theme import model_title
from pages.ui.train_form import train_form


def introduction() -> None:
    st.title("Tune")
    st.markdown(
        "Fine-tune the checkpoint on the clean validation set. **VM** minimises its loss; **FVM** also asks that the "
        "loss stays low around the weights. Watch the sharpness fall: at a flat minimum the influence scores hold."
    )


def start_tuning(workspace: Workspace, models: dict[str, ModelRecord], datasets: dict[str, DatasetSpec]) -> None:
    a, b, c = st.columns(3)
    with a:
        model = selection.choose(
            "model", list(models), label="Checkpoint to tune",
            format_func=lambda name: f"{name} · {model_title(models[name].role, models[name].settings.get('solver'))}",
            prefer=lambda name: models[name].role in ("base", "imported"),
            help="Usually the model that was trained on the noisy labels.",
        )  # fmt: skip
    with b:
        validation = selection.choose(
            "validation", list(datasets), label="Clean validation set", help="The set it is tuned on."
        )
    with c:
        own = str(models[model].dataset.get("name", "")) if model else ""
        dataset = selection.choose(
            "dataset", list(datasets), label="Noisy training set", optional="none",
            prefer=(lambda name: name == own) if own in datasets else None,
            help="Only measured, never trained on: its loss shows whether the model forgets the wrong labels.",
        )  # fmt: skip
    if model is None or validation is None:
        return
    a, b, c = st.columns([2.6, 1.5, 1], vertical_alignment="bottom")
    with a:
        solver = solver_form.choose_solver()
    with b:
        taken = tune_form.taken_names(workspace, models)
        name = tune_form.choose_name(model, solver, taken)
    with st.expander("Settings", icon=":material/settings:", key="tune_settings"):
        hundred = dataset is not None and datasets[dataset].kind == "cifar100n"
        values = tune_form.settings_form(solver, hundred_classes=hundred)
    slot = c.empty()
    ready = False
    with errors.shown(stop=False):
        check_validation(open_cached(workspace, validation), models[model].spec.num_classes)
        trained_on = dataset or (own if own in datasets else None)
        if dataset == validation:
            st.error(
                "The noisy training set is also chosen as the clean validation set, so the tuning cannot start. Choose "
                "two different sets.",
                icon=":material/error:",
            )
        else:
            ready = trained_on is None or cleared(workspace, trained_on, validation)
    pressed = slot.button(
        "Start tuning", type="primary", icon=":material/play_arrow:", key="start_tuning", width="stretch",
        disabled=not ready,
    )  # fmt: skip
    if pressed and ready:
        with errors.shown(stop=False):
            name = tune_form.checked_name(name, taken)
            settings = TuneSettings(**values)
            args = {
                "model": model, "validation": validation, "dataset": dataset, "settings": settings.to_json(),
                "name": name,
            }  # fmt: skip
            title = f"Tune {name} ({solver_form.title(solver)})"
            start_job(workspace, "tune", args, title=title)
            st.session_state["tune_watch_add"] = name
            st.rerun()


def running(workspace: Workspace, kind: str) -> None:
    """Draw the jobs of a kind that run, wait, or ended without a result not long ago."""
    jobs = [status for status in list_jobs(workspace) if status.kind == kind]
    for status in [*filter(lambda s: s.active, jobs), *[s for s in jobs[:1] if s.resumable]]:
        with st.container(border=True):
            job_view.watch(workspace, status.id, key=kind)


def draw_curves(
    workspace: Workspace, items: list[tune_watch.Watched], panels: dict[str, str], key: str, log: bool
) -> None:
    runs = [tune_watch.load(workspace, item) for item in items]
    st.html(legend(runs))
    columns = st.columns(3)
    for place, (metric, title) in enumerate(panels.items()):
        columns[place % 3].altair_chart(
            panel(runs, metric, title, log=log and metric != "val_accuracy"), key=f"{key}_{metric}"
        )


@st.fragment(run_every=1)
def live_curves(
    workspace: Workspace, items: list[tune_watch.Watched], panels: dict[str, str], key: str, log: bool
) -> None:
    with errors.shown(), st.container(key=f"live_{key}"):
        draw_curves(workspace, items, panels, key, log)


def watch(workspace: Workspace, *, kind: str, panels: dict[str, str], label: str) -> None:
    found = {item.name: item for item in tune_watch.find(workspace, kind=kind)}
    if not found:
        return
    key = f"{kind}_watch"
    kept = [name for name in st.session_state.get(key, tune_watch.defaults(list(found.values()))) if name in found]
    added = st.session_state.pop(f"{key}_add", None)
    if added in found and added not in kept:
        kept = [added, *(name for name in kept if found[name].family != found[added].family)]
    st.session_state[key] = kept
    chosen = st.multiselect(
        label, list(found), key=key, format_func=lambda name: found[name].label, persist_state="session",
        help="Blue: base. Orange: VM. Green: FVM. A second line of one colour is dashed, a third one dotted.",
    )  # fmt: skip
    if not chosen:
        st.caption("Choose at least one to see its curves.")
        return
    items = [found[name] for name in chosen]
    log = st.toggle(
        "Logarithmic axes", key=f"{kind}_log", persist_state="session",
        help="Shows the end of a tuning, where VM and FVM part. Values that are not above zero are left out.",
    )  # fmt: skip
    alive = any(item.job and job_status(workspace, item.job).active for item in items)
    (live_curves if alive else draw_curves)(workspace, items, panels, f"{kind}_curves", log)


def train_base(workspace: Workspace, models: dict[str, ModelRecord], datasets: dict[str, DatasetSpec]) -> None:
    title = "Train a base model on the noisy labels"
    with st.expander(title, icon=":material/model_training:", expanded=not models, key="train_base"):
        st.markdown("For those who bring no checkpoint: the paper's recipe (B.1), or a smaller one for this machine.")
        if not datasets:
            st.caption("Load a dataset first.")
            return
        with errors.shown(stop=False):
            taken = tune_form.taken_names(workspace, models)
            args = train_form(
                datasets,
                taken,
                dataset=selection.propose("dataset", list(datasets)),
                validation=selection.propose("validation", list(datasets)),
            )
            if args is not None:
                opened = open_cached(workspace, args["dataset"])
                spec = replace(
                    ModelSpec.from_json(args["model"]), num_classes=opened.num_classes, class_names=opened.class_names
                )
                args |= {"model": spec.to_json(), "name": tune_form.checked_name(args["name"], taken)}
                start_job(workspace, "train", args, title=f"Train {args['name']}")
                st.session_state["train_watch_add"] = args["name"]
                st.rerun()
        running(workspace, "train")
        watch(workspace, kind="train", panels=TRAINING_PANELS, label="Trainings to draw")


def main() -> None:
    workspace = current_workspace()
    introduction()
    with errors.shown():
        models, datasets = list_models(workspace), list_datasets(workspace)
        if models and datasets:
            tunings = [status for status in list_jobs(workspace) if status.kind == "tune"]
            busy = any(status.active for status in tunings)
            if tunings and tunings[0].state == "done":
                tune_done.draw(workspace, tunings[0])
            title = "Start another tuning" if busy else "Start a tuning"
            with st.expander(title, icon=":material/tune:", expanded=not busy, key=f"tune_form_{busy}"):
                start_tuning(workspace, models, datasets)
            running(workspace, "tune")
            watch(workspace, kind="tune", panels=TUNING_PANELS, label="Tunings to draw")
            if any(record.role in ("vm", "fvm") for record in models.values()):
                links.link("score", "Score the training set with the tuned models")
        else:
            lacks = " and ".join(
                word for word, there in (("a checkpoint", models), ("a dataset", datasets)) if not there
            )
            st.info(f"There is nothing to tune yet: the workspace lacks {lacks}.", icon=":material/tune:")
            links.link("load", "Load a checkpoint and a clean validation set")
            links.link("home", "Or try the demo")
        train_base(workspace, models, datasets)


main()
