"""Tuning of LoRA adapters: on the training pairs, then on to the validation pairs' minimum (VM, FVM)."""

from __future__ import annotations

from typing import Any

import streamlit as st

from fvm_core.errors import SettingsError
from fvm_core.generation.settings import LanguageOptions, LoraSettings
from fvm_core.generation.store import GenerationRecord, check_free, list_records
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace
from pages.ui import generation_watch
from pages.ui.errors import shown
from pages.ui.generation_jobs import running
from pages.ui.generation_models import ROLES, image_options
from pages.ui.generation_sets import sets_of_kind
from pages.ui.tune_form import free_name

USUAL = LoraSettings()
CAPTIONS = {
    "lora": "A new adapter on the training pairs, AdamW with a cosine to 0.",
    "vm": "The adapter goes on to the minimum of the validation pairs' loss: AdamW, 5 epochs at 3e-5 (B.2).",
    "fvm": "As VM, with LPF, which also asks that the loss stays low around the weights: M = 1 draw of noise, "
    "gamma = 0.001 (B.2).",
}
RECIPES = {
    "text": "The paper's recipe: 10 epochs of batch 64 at 3e-4 (B.2). A small model made here starts with 5e-3.",
    "image": "The paper's recipe: 10,000 steps of batch 4 at 1e-4 (B.3). A small model made here: 1,500 steps at 5e-4.",
}
"""Of the role `lora`, by kind; the form's defaults follow it."""


def draw(workspace: Workspace) -> None:
    """Draw the form, the jobs that are at it and the curves."""
    records = list_records(workspace)
    if not any(record.role == "base" for record in records.values()):
        st.info("There is no base model to tune yet. Set one up under *Models and pairs*.", icon=":material/tune:")
        running(workspace, "gen_pretrain", "gen_tune")
        return
    busy = any(status.active and status.kind == "gen_tune" for status in list_jobs(workspace))
    title = "Start another tuning" if busy else "Start a tuning"
    part = st.expander(title, icon=":material/tune:", expanded=not busy, key=f"generation_tune_{busy}")
    with part, shown(stop=False):
        _form(workspace, records)
    running(workspace, "gen_pretrain", "gen_tune")
    with shown(stop=False):
        generation_watch.watch(workspace)


def _form(workspace: Workspace, records: dict[str, GenerationRecord]) -> None:
    role = st.segmented_control(
        "What to tune to", list(CAPTIONS), default="lora", required=True, key="generation_role",
        format_func=ROLES.__getitem__, persist_state="session",
    )  # fmt: skip
    st.caption(CAPTIONS[str(role)])
    parents = [one for one in records.values() if one.role == ("base" if role == "lora" else "lora")]
    if not parents:
        st.info("VM and FVM go on from an adapter tuned on training pairs. Tune one with LoRA first.")
        return
    a, b, c, d = st.columns([1.5, 1.5, 1.5, 1.5])
    model = a.selectbox("Model to start from", [one.name for one in parents], key=f"generation_from_{role}")
    parent = records[model]
    if role == "lora":
        st.caption(RECIPES[parent.kind])
    sets = sets_of_kind(workspace, parent.kind)
    if not sets:
        st.info("There are no pairs of this model's kind. Bring some under *Models and pairs*.")
        return
    training = b.selectbox("Training pairs", sets, index=_near(sets, "-train", _trained_on(parent)))
    validation = c.selectbox("Validation pairs", sets, index=_near(sets, "-val", training, parent.validation))
    taken = {*records, *_promised(workspace)}
    wanted = f"{parent.base or parent.name}-{training.removesuffix('-train')}-{role}"
    name = d.text_input("Name of the adapter", value=free_name(wanted, taken), max_chars=64)
    with st.expander("Settings", icon=":material/settings:", key="generation_settings"):
        values, options = settings_form(str(role), parent.kind, small=parent.role == "base" and not parent.path)
    if st.button("Start tuning", type="primary", icon=":material/play_arrow:", key="generation_start_tuning"):
        if training == validation:
            raise SettingsError("`training` and `validation` must be two sets of pairs, got the same. Choose another.")
        settings = LoraSettings(role=str(role), **values)
        args = {
            "model": model, "training": training, "validation": validation, "name": check_free(workspace, name),
            "settings": settings.to_json(), "options": options,
        }  # fmt: skip
        start_job(workspace, "gen_tune", args, title=f"Tune {args['name']} ({generation_watch.TITLES[str(role)]})")
        st.session_state["generation_watch_add"] = args["name"]
        st.rerun()


def settings_form(role: str, kind: str, *, small: bool) -> tuple[dict[str, Any], dict[str, Any]]:
    """Draw the settings of a role and return those of LoraSettings, unchecked, and the kind's options. `small`: the
    base was made here, from scratch."""
    key = f"generation_{role}_{kind}_{small}"
    values: dict[str, Any] = {}
    a, b, c, d, e, f = st.columns(6)
    image = kind == "image"
    by_steps = image and role == "lora"
    usual = 0 if by_steps else 10 if role == "lora" else 5
    epochs = a.number_input("Epochs", 0, 1000, usual, key=f"{key}_epochs", help="0: by steps.")
    steps = b.number_input(
        "Steps",
        0,
        1_000_000,
        (1500 if small else 10_000) if by_steps else 0,
        key=f"{key}_steps",
        help="Instead of epochs, where these are 0.",
    )
    rate = LoraSettings(role=role).rate
    if role == "lora" and (image or small):
        rate = (5e-4 if small else 1e-4) if image else 5e-3
    if epochs:
        values["epochs"] = int(epochs)
    elif steps:
        values["steps"] = int(steps)
    values["lr"] = float(c.number_input("Learning rate", 0.0, 1.0, rate, step=1e-4, format="%.6f", key=f"{key}_lr"))
    values["batch_size"] = int(
        d.number_input("Batch size", 1, 4096, 4 if image else USUAL.batch_size, key=f"{key}_batch")
    )
    values["micro_batch"] = int(
        e.number_input(
            "In memory at a time", 1, 4096, USUAL.micro_batch, key=f"{key}_micro", help="Lower: less memory."
        )
    )
    values["seed"] = int(f.number_input("Seed", 0, 2**31 - 1, 0, key=f"{key}_seed"))
    a, b, c, d, e, f = st.columns(6)
    if role == "lora":
        values["rank"] = int(a.number_input("Rank", 1, 256, 2 if image else 8, key=f"{key}_rank"))
        values["alpha"] = float(b.number_input("Alpha", 0.1, 512.0, 2.0 if image else 32.0, key=f"{key}_alpha"))
    elif role == "fvm":
        values["gamma"] = float(
            a.number_input("LPF's gamma", 0.0, 1.0, USUAL.gamma, step=1e-3, format="%.4f", key=f"{key}_gamma")
        )
        values["draws"] = int(b.number_input("LPF's draws M", 1, 64, USUAL.draws, key=f"{key}_draws"))
    values["eval_every"] = int(c.number_input("Losses every", 0, 10_000, USUAL.eval_every, key=f"{key}_eval"))
    values["sharpness_every"] = int(
        d.number_input("Sharpness every", 0, 10_000, 20, key=f"{key}_sharp", help="In steps; 0 switches it off.")
    )
    values["sharpness_rho"] = float(e.number_input("At radius", 1e-4, 10.0, USUAL.sharpness_rho, key=f"{key}_rho"))
    if kind == "text":
        values["answers"] = int(
            f.number_input(
                "Answers to check", 0, 10_000, 50, key=f"{key}_answers", help="Validation prompts at the end."
            )
        )
    if role != "lora":
        return values, {}
    if kind == "image":
        return values, image_options()
    template = st.text_input(
        "What stands around a prompt", LanguageOptions().template.replace("\n", "\\n"), key=f"{key}_template",
        help="E.g. [INST] {prompt} [/INST] for Llama 2's chat models. \\n is a line break.",
    )  # fmt: skip
    return values, LanguageOptions(template=template.replace("\\n", "\n")).to_json()


def _trained_on(parent: GenerationRecord) -> str:
    """Return the training pairs of an adapter; a base's own are practice."""
    return "" if parent.role == "base" else str(parent.training.get("name", ""))


def _near(sets: list[str], end: str, like: object, kept: Any = None) -> int:
    """Return where in `sets` the most fitting one is: the one kept, the sister of `like`, one that ends so."""
    own = kept.get("name") if isinstance(kept, dict) else None
    stem = str(like or "").removesuffix("-train")
    wanted = [own, f"{stem}{end}" if end == "-val" else like]
    ending = [one for one in sets if one.endswith(end)]
    for name in [*wanted, *ending]:
        if name in sets:
            return sets.index(name)
    return 0


def _promised(workspace: Workspace) -> set[str]:
    from fvm_core.jobs.folder import open_folder

    active = [one for one in list_jobs(workspace) if one.kind in ("gen_tune", "gen_pretrain") and one.active]
    return {str(open_folder(workspace, one.id).read_spec().args.get("name", "")) for one in active}
