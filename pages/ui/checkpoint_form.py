"""The form that imports a checkpoint, and the table of the models in the workspace."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.models.spec import ARCHITECTURES, NORMALISATIONS
from fvm_core.models.store import ModelRecord, delete_model
from fvm_core.workspace import Workspace
from pages.ui.dataset_form import path_or_upload
from pages.ui.job_view import ERROR_KEY
from pages.ui.text import plain
from pages.ui.theme import model_title
from pages.ui.tune_form import free_name
from pages.ui.upload import keep_upload

INFER = "find it out from the tensors"
KEEP = "as the architecture says"


def checkpoint_form(
    workspace: Workspace, taken: Collection[str], *, class_names: tuple[str, ...] = ()
) -> dict[str, Any] | None:
    """Draw the form. Returns the arguments of an `import_model` job when its button is pressed, else None.

    `class_names` are those of the dataset in use: they are offered as the names of the model's outputs.

    Raises:
        DataError: an upload of another type.
        StorageError: the disk refused the upload.
    """
    source = path_or_upload(
        "checkpoint", types=["safetensors", "pt", "pth"], label="Weights: .safetensors, .pt or .pth",
        example="/data/resnet18.pt",
    )  # fmt: skip
    file = Path(source if isinstance(source, str) else str(source.name)).name
    arch = st.selectbox(
        "Architecture", [INFER, *ARCHITECTURES], key="checkpoint_arch",
        help="Names and shapes of the tensors tell most architectures. A class of your own comes from the command line "
        "only: `python -m fvm_core model import FILE --name NAME --arch custom:module:callable`.",
    )  # fmt: skip
    spec: dict[str, Any] = {} if arch == INFER else {"arch": arch}
    with st.expander("Width, classes, input", icon=":material/settings:", key="checkpoint_more"):
        st.caption("Leave a field empty to take what the weights or the architecture say.")
        a, b = st.columns(2)
        spec |= _filled("num_classes", a.number_input("Classes", 2, None, None, key="checkpoint_classes"))
        spec |= _filled("width", b.number_input("Width", 1, 1024, None, key="checkpoint_width"))
        spec |= _filled("image_size", a.number_input("Image side in pixels", 8, 1024, None, key="checkpoint_size"))
        channels = b.selectbox("Colours", [KEEP, "RGB", "grey"], key="checkpoint_channels")
        spec |= {} if channels == KEEP else {"in_channels": 3 if channels == "RGB" else 1}
        scaling = st.selectbox(
            "Normalisation", [KEEP, *NORMALISATIONS], key="checkpoint_norm",
            help="How pixels were scaled when it was trained. A wrong choice costs accuracy without any error.",
        )  # fmt: skip
        if scaling != KEEP:
            spec |= {"mean": list(NORMALISATIONS[scaling][0]), "std": list(NORMALISATIONS[scaling][1])}
        if class_names and st.checkbox(
            "Its outputs are the classes of the dataset in use, in their order", value=False, key="checkpoint_names"
        ):
            spec |= {"class_names": list(class_names), "num_classes": spec.get("num_classes", len(class_names))}
    stem = Path(file).stem
    wanted = free_name(stem if re.search("[A-Za-z0-9_]", stem) else "imported", taken)
    name = st.text_input("Name of the model", wanted, key=f"checkpoint_name_{wanted}", max_chars=64)
    pressed = st.button(
        "Import checkpoint", type="primary", icon=":material/file_open:", key="import_checkpoint", disabled=not source
    )
    if not pressed:
        return None
    path = source if isinstance(source, str) else str(keep_upload(workspace, source))
    return {"upload": path, "file": file, "name": name, "spec": spec}


def models_table(models: Mapping[str, ModelRecord]) -> None:
    """Draw one row a model: role, architecture, accuracy on its clean validation set, parameters, parent."""
    frame = pd.DataFrame(
        {
            "name": list(models),
            "role": [model_title(record.role, record.settings.get("solver")) for record in models.values()],
            "arch": [architecture(record) for record in models.values()],
            "accuracy": [_number(record.metrics.get("val_accuracy")) for record in models.values()],
            "from": [record.parent for record in models.values()],
        }
    )
    st.dataframe(
        frame,
        hide_index=True,
        placeholder="",
        column_config={
            "name": st.column_config.TextColumn("Model"),
            "role": st.column_config.TextColumn("Role", width="small"),
            "arch": st.column_config.TextColumn("Architecture"),
            "accuracy": st.column_config.NumberColumn(
                "Accuracy", format="percent", help="On its clean validation set; empty for an import not yet tuned."
            ),
            "from": st.column_config.TextColumn("Tuned from"),
        },
    )


def deletion(workspace: Workspace, models: Mapping[str, ModelRecord]) -> None:
    """Draw the choice of a model to delete and the button that asks, then deletes."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        if st.session_state.get("delete_model") not in models:
            st.session_state["delete_model"] = None
        name = st.selectbox("Delete a model", list(models), placeholder="Choose one", key="delete_model")
        if name is None:
            return
        with st.popover(":material/delete:", key=f"delete_model_{name}", help="Delete this model"):
            st.markdown(f"Deletes the weights, snapshots and curves of **{plain(name)}**. Scores made with it stay.")
            st.button(
                "Delete this model", type="primary", key=f"confirm_model_{name}", on_click=_delete,
                args=(workspace, name),
            )  # fmt: skip


def _delete(workspace: Workspace, name: str) -> None:
    try:
        delete_model(workspace, name)
    except FVMError as error:
        st.session_state[ERROR_KEY] = str(error)


def architecture(record: ModelRecord) -> str:
    """Return the architecture with its width where that matters.

    >>> from fvm_core.models.spec import ModelSpec
    >>> architecture(ModelRecord("m", "base", ModelSpec("cifar_resnet18", 10, width=16)))
    'cifar_resnet18, width 16'
    """
    spec = record.spec
    return f"{spec.arch}, width {spec.width}" if spec.arch.startswith("cifar_") else spec.arch


def _filled(key: str, value: float | None) -> dict[str, Any]:
    return {} if value is None else {key: int(value)}


def _number(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) else None
