"""Load: the noisy training set, the checkpoint, the clean validation set, and whether the two sets overlap."""

from __future__ import annotations

import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.download_job import wants_download, without_wish
from fvm_core.data.registry import add_dataset, list_datasets
from fvm_core.data.validation import check_validation
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import (
    clean_rows,
    dataset_form,
    dataset_list,
    dataset_view,
    download_view,
    errors,
    image_check,
    job_view,
    links,
    selection,
)
from pages.ui.checkpoint_form import checkpoint_form, deletion, models_table
from pages.ui.corrections_form import corrections_form
from pages.ui.open_data import open_cached
from pages.ui.overlap_part import overlap_part
from pages.ui.text import plain
from pages.ui.tune_form import checked_name, free_name, taken_names
from pages.ui.upload import uploaded_name

PARTS = {
    "dataset": "1  Training dataset",
    "checkpoint": "2  Checkpoint",
    "validation": "3  Clean validation set",
    "overlap": "4  Overlap check",
}


def add_form(workspace: Workspace, datasets: dict[str, DatasetSpec], *, role: str) -> None:
    """Draw the form for a new dataset; `role` is "dataset" or "validation"."""
    clean = role == "validation"
    with errors.shown(stop=False):
        download_view.take_into_use(workspace, datasets, role=role)
        spec = dataset_form.dataset_form(workspace, key=f"add_{role}", clean=clean)
        wanted = ""
        if spec:
            uploaded = uploaded_name(spec.path)
            wanted = free_name(dataset_form.suggest_name(spec, clean=clean, uploaded=uploaded), datasets)
        name = st.text_input("Name", wanted, key=f"add_{role}_name_{wanted}", max_chars=64, disabled=spec is None)
        fetch = spec is not None and wants_download(spec)
        pressed = st.button(
            "Download and load" if fetch else "Load", type="primary", icon=":material/download:",
            key=f"add_{role}_load", disabled=spec is None,
        )  # fmt: skip
        if pressed and spec is not None and fetch:
            download_view.start(workspace, name, spec, role=role)
            st.rerun()
        if pressed and spec is not None:
            with st.spinner("Opening the dataset …"):
                added = add_dataset(workspace, name, without_wish(spec))
            selection.remember(role, added)
            st.session_state[f"look_{role}"] = added
            st.rerun()
    with errors.shown(stop=False):
        download_view.unfinished(workspace, datasets)


def look(workspace: Workspace, datasets: dict[str, DatasetSpec], models: dict[str, ModelRecord], *, role: str) -> None:
    """Draw the dataset in use and make the one chosen here the one in use."""
    name = dataset_list.chooser(
        workspace, datasets, key=f"look_{role}", label="Dataset in use", current=selection.propose(role, list(datasets))
    )
    selection.remember(role, name)
    with errors.shown(stop=False):
        dataset = open_cached(workspace, name)
        dataset_view.figures_row(dataset)
        download_view.downloaded(workspace, dataset)
        dataset_view.notes(dataset)
        above = st.container()
        st.plotly_chart(
            dataset_view.class_chart(dataset), key=f"classes_{role}", config={"displayModeBar": False}
        )  # fmt: skip
        dataset_view.another_sample(dataset, key=f"look_{role}")
        broken = dataset_view.sample_images(dataset, key=f"look_{role}")
        spec = models[model].spec if (model := selection.selected("model")) in models else None
        size, channels = (spec.image_size, spec.in_channels) if spec else (32, 3)
        with above:
            image_check.check_images(
                workspace, name, dataset, broken, size=size, channels=channels, key=f"look_{role}"
            )  # fmt: skip


def dataset_part(workspace: Workspace, datasets: dict[str, DatasetSpec], models: dict[str, ModelRecord]) -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("Add a dataset")
        add_form(workspace, datasets, role="dataset")
        if datasets:
            corrections_form(workspace, datasets)
    with right:
        if datasets:
            look(workspace, datasets, models, role="dataset")
        else:
            st.info("No dataset yet. Describe one on the left, or try the demo.", icon=":material/dataset:")
            links.link("home", "Try the demo")


def checkpoint_part(workspace: Workspace, models: dict[str, ModelRecord]) -> None:
    left, right = st.columns([2, 3], gap="large")
    with left:
        st.subheader("Import a checkpoint")
        with errors.shown(stop=False):
            name = selection.selected("dataset")
            names = open_cached(workspace, name).class_names if name in list_datasets(workspace) else ()
            taken = taken_names(workspace, models)
            args = checkpoint_form(workspace, taken, class_names=names)
            if args is not None:
                args["name"] = checked_name(args["name"], taken)
                job = start_job(workspace, "import_model", args, title=f"Import {args['name']}")
                st.session_state["import_job"] = job
                selection.remember("model", args["name"])
                st.rerun()
    with right:
        st.subheader("Models in the workspace")
        imports = [status for status in list_jobs(workspace) if status.kind == "import_model"]
        mine = next((status for status in imports if status.id == st.session_state.get("import_job")), None)
        if mine is not None:
            with st.container(border=True):
                status = job_view.watch(workspace, mine.id, key="import", steering=mine.active)
                if status.state == "done" and status.result:
                    told = "found out from the tensors" if status.result.get("inferred") else "as you chose"
                    spec = status.result.get("spec", {})
                    st.markdown(
                        f"**{plain(spec.get('arch', ''))}**, {told}: {plain(spec.get('num_classes', '?'))} classes, "
                        f"images of {plain(spec.get('image_size', '?'))} pixels, "
                        f"{plain(format(status.result.get('parameters') or 0, ','))} parameters."
                    )
        if models:
            models_table(models)
            deletion(workspace, models)
        else:
            st.info("No model yet. Import a checkpoint, or train one on the Tune page.", icon=":material/neurology:")
        links.link("tune", "Tune a model, or train one on the noisy labels")


def validation_part(workspace: Workspace, datasets: dict[str, DatasetSpec], models: dict[str, ModelRecord]) -> None:
    marking = st.session_state.get("validation_way") == "rows"
    left, right = st.columns([1, 1] if marking else [2, 3], gap="large")
    with left:
        st.subheader("Clean validation set")
        ways = {"own": "Its own dataset", "rows": "Rows I know are clean"}
        way = st.segmented_control(
            "Where it comes from", list(ways), format_func=ways.__getitem__, default="own", required=True,
            key="validation_way", label_visibility="collapsed", persist_state="session",
        )  # fmt: skip
        if way == "own":
            add_form(workspace, datasets, role="validation")
        elif not datasets:
            st.info("Load the training dataset first.", icon=":material/info:")
        else:
            clean_rows.rows_form(workspace, datasets)
    with right:
        if not datasets:
            st.info("No dataset yet.", icon=":material/dataset:")
            return
        look(workspace, datasets, models, role="validation")
        with errors.shown(stop=False):
            model = selection.selected("model")
            name = selection.selected("validation")
            if model in models and name in datasets:
                check_validation(open_cached(workspace, name), models[model].spec.num_classes)


def main() -> None:
    workspace = current_workspace()
    st.title("Load")
    with errors.shown():
        datasets, models = list_datasets(workspace), list_models(workspace)
        job_view.show_error()
        part = st.segmented_control(
            "Part", list(PARTS), format_func=PARTS.__getitem__, default="dataset", required=True, key="load_part",
            label_visibility="collapsed", bind="query-params",
        )  # fmt: skip
        if part == "dataset":
            dataset_part(workspace, datasets, models)
        elif part == "checkpoint":
            checkpoint_part(workspace, models)
        elif part == "validation":
            validation_part(workspace, datasets, models)
        else:
            overlap_part(workspace, datasets)


main()
