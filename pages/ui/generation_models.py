"""Models and adapters: a local folder registered, a peft adapter taken over, a small model trained from scratch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.errors import CheckpointError, FVMError
from fvm_core.generation.diffusion_settings import DiffusionSettings, PretrainDiffusionSettings
from fvm_core.generation.register import register_adapter, register_base
from fvm_core.generation.settings import LanguageOptions, PretrainSettings
from fvm_core.generation.store import GenerationRecord, check_free, delete_record, list_records
from fvm_core.jobs.launch import start_job
from fvm_core.workspace import Workspace
from pages.ui.errors import shown
from pages.ui.generation_sets import sets_of_kind
from pages.ui.job_view import ERROR_KEY, show_error
from pages.ui.text import plain

ROLES = {
    "base": "Base", "lora": "LoRA on training pairs", "vm": "VM on validation pairs", "fvm": "FVM on validation pairs",
}  # fmt: skip
KINDS = {"text": "Text", "image": "Images"}


def draw(workspace: Workspace) -> None:
    """Draw the models that are there and the ways to bring one."""
    st.subheader("Models and adapters")
    show_error()
    records = list_records(workspace)
    if records:
        st.dataframe(table(records), hide_index=True)
    else:
        st.caption("There is no generating model yet.")
    title = "Register a local model folder"
    with st.expander(title, icon=":material/folder_open:", key="generation_register"), shown(stop=False):
        _register(workspace)
    bases = [record for record in records.values() if record.role == "base"]
    if bases:
        title = "Take over a peft adapter tuned elsewhere"
        with st.expander(title, icon=":material/extension:", key="generation_adapter"), shown(stop=False):
            _adapter(workspace, bases)
    title = "Train a small model from scratch"
    with st.expander(title, icon=":material/model_training:", key="generation_pretrain"), shown(stop=False):
        _pretrain(workspace)
    if records:
        with st.expander("Delete a model", icon=":material/delete:", key="generation_delete"):
            _delete(workspace, records)


def table(records: dict[str, GenerationRecord]) -> pd.DataFrame:
    """Return one row a model or adapter."""
    rows = []
    for record in records.values():
        matched = record.metrics.get("exact_match")
        rows.append(
            {
                "Model": record.name,
                "Kind": KINDS[record.kind],
                "Role": ROLES[record.role].split(" on ")[0],
                "From": record.parent or record.path or "",
                "Training pairs": record.training.get("name", ""),
                "Validation pairs": record.validation.get("name", ""),
                "Answers right": f"{100 * matched:.0f} %" if isinstance(matched, int | float) else "",
                "Made": record.created[:16].replace("T", " "),
            }
        )
    return pd.DataFrame(rows)


def _register(workspace: Workspace) -> None:
    st.caption(
        "A folder of transformers (config.json and safetensors) or diffusers (model_index.json) on the machine that "
        "the app runs on. It stays where it is; nothing is fetched, no code of the folder is run."
    )
    with st.form("generation_register_form", border=False):
        a, b, c, d = st.columns([1, 2.6, 1.4, 1], vertical_alignment="bottom")
        kind = a.selectbox("Kind", list(KINDS), format_func=KINDS.__getitem__)
        folder = b.text_input("Path of the model's folder")
        name = c.text_input("Name", max_chars=64, help="By default the folder's name.")
        if not d.form_submit_button("Register", icon=":material/add:", width="stretch"):
            return
    if not folder.strip():
        raise CheckpointError("`Path of the model's folder` must not be empty. Type where the model is.")
    path = Path(folder.strip()).expanduser()
    record = register_base(workspace, name or path.absolute().name, path, kind=kind)
    _told(f"{record.name} is registered.")


def _adapter(workspace: Workspace, bases: list[GenerationRecord]) -> None:
    kinds = {record.name: record.kind for record in bases}
    with st.form("generation_adapter_form", border=False):
        a, b, c = st.columns([1.4, 2.6, 1.4])
        base = a.selectbox("Base model", list(kinds))
        folder = b.text_input("Path of the adapter's folder")
        name = c.text_input("Name of the adapter", max_chars=64, help="By default the base's name with -lora.")
        a, b = st.columns([4.4, 1], vertical_alignment="bottom")
        template = a.text_input(
            "What stands around a prompt (language models)", LanguageOptions().template.replace("\n", "\\n"),
            help="As in its tuning, e.g. [INST] {prompt} [/INST]. \\n is a line break.",
        )  # fmt: skip
        if not b.form_submit_button("Take over", icon=":material/add:", width="stretch"):
            return
    if not folder.strip():
        raise CheckpointError("`Path of the adapter's folder` must not be empty. Type where the adapter is.")
    options = LanguageOptions(template=template.replace("\\n", "\n")).to_json() if kinds[base] == "text" else {}
    record = register_adapter(workspace, name or f"{base}-lora", folder.strip(), base=base, options=options)
    _told(f"{record.name} is taken over.")


def _pretrain(workspace: Workspace) -> None:
    kind = st.segmented_control(
        "What it generates", list(KINDS), default="text", required=True, key="generation_pretrain_kind",
        format_func=KINDS.__getitem__,
    )  # fmt: skip
    args = _pretrain_text() if kind == "text" else _pretrain_image(workspace)
    if args is None:
        return
    args["name"] = check_free(workspace, str(args["name"]))
    start_job(workspace, "gen_pretrain", args, title=f"Pretrain {args['name']}")
    st.rerun()


def _pretrain_text() -> dict[str, Any] | None:
    usual = PretrainSettings()
    st.caption(
        "A small Llama-shaped model of bytes, on practice pairs of the same kinds with other sentences and numbers. "
        "The defaults take about an hour on two cores."
    )
    with st.form("generation_pretrain_text", border=False):
        a, b, c, d, e, f = st.columns([1.6, 1, 1, 1, 1, 1], vertical_alignment="bottom")
        name = a.text_input("Name", value="small-llama", max_chars=64)
        values = {
            "steps": int(b.number_input("Steps", 1, 1_000_000, usual.steps, step=100)),
            "hidden": int(c.number_input("Width", 12, 4096, usual.hidden, step=12, help="A multiple of 12.")),
            "layers": int(d.number_input("Layers", 1, 48, usual.layers)),
            "seed": int(e.number_input("Seed", 0, 2**31 - 1, usual.seed)),
        }
        pressed = f.form_submit_button("Train", icon=":material/play_arrow:", width="stretch")
    if not pressed:
        return None
    return {"kind": "text", "name": name, "settings": PretrainSettings(**values).to_json()}


def _pretrain_image(workspace: Workspace) -> dict[str, Any] | None:
    sets = sets_of_kind(workspace, "image")
    if not sets:
        st.caption("It learns from image-text pairs. Make the digits in three styles first, or take over a folder.")
        return None
    usual = PretrainDiffusionSettings()
    st.caption("A small Stable Diffusion pipeline over 16 x 16 pixels, UNet and text encoder together.")
    with st.form("generation_pretrain_image", border=False):
        a, b, c, d, e = st.columns([1.4, 1.4, 1.4, 1, 1], vertical_alignment="bottom")
        name = a.text_input("Name", value="small-unet", max_chars=64)
        own = next((place for place, one in enumerate(sets) if one.endswith("-pretrain")), 0)
        pairs = b.selectbox("Pairs to train on", sets, index=own)
        validation = c.selectbox("Pairs to measure on", ["", *sets], format_func=lambda one: one or "none")
        steps = int(d.number_input("Steps", 1, 1_000_000, usual.steps, step=100))
        pressed = e.form_submit_button("Train", icon=":material/play_arrow:", width="stretch")
    if not pressed:
        return None
    PretrainDiffusionSettings(steps=steps)
    return {"kind": "image", "name": name, "pairs": pairs, "validation": validation, "settings": {"steps": steps}}


def _delete(workspace: Workspace, records: dict[str, GenerationRecord]) -> None:
    a, b = st.columns([3, 1], vertical_alignment="bottom")
    name = a.selectbox("Model to delete", list(records), key="generation_delete_name")
    b.button(
        "Delete it", icon=":material/delete:", key="generation_delete_it", on_click=_deleted, args=(workspace, name),
        width="stretch", help="Its scores stay; a folder elsewhere is only forgotten.",
    )  # fmt: skip


def _deleted(workspace: Workspace, name: str) -> None:
    try:
        delete_record(workspace, name)
    except FVMError as error:
        st.session_state[ERROR_KEY] = str(error)


def _told(words: str) -> None:
    st.session_state["generation_told"] = words
    st.rerun()


def image_options() -> dict[str, Any]:
    """Return the usual options of a diffusion model's tuning."""
    return DiffusionSettings().to_json()


def title(record: GenerationRecord) -> str:
    """Return how a model is called in a list, safe as Markdown."""
    return f"{plain(record.name)} · {ROLES[record.role]}"
