"""The Generation page's first step: are the libraries there, and the built-in example in one click."""

from __future__ import annotations

from importlib.util import find_spec

import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.generation.example import SHIPPED, install_example
from fvm_core.generation.libraries import COMMAND
from fvm_core.generation.score_store import list_score_runs
from fvm_core.generation.sentences import sentence_pairs
from fvm_core.generation.store import list_pairs, list_records, write_pairs
from fvm_core.generation.word_problems import word_problem_pairs
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace
from pages.ui.job_view import ERROR_KEY
from pages.ui.text import plain

LIBRARIES = {"transformers": "language models", "peft": "LoRA adapters", "diffusers": "image models"}
EXAMPLE_MODEL = "small-llama"


def missing_libraries() -> list[str]:
    """Return which of LIBRARIES are not installed, without importing any."""
    return [name for name in LIBRARIES if find_spec(name) is None]


def libraries_note() -> None:
    """Say which optional libraries are missing, what they are for and how they are installed."""
    missing = missing_libraries()
    if missing:
        told = ", ".join(f"`{name}` ({LIBRARIES[name]})" for name in missing)
        st.warning(
            f"Optional libraries are missing: {told}. Pairs and scores that are here can be looked at; training, "
            f"tuning and scoring need them. Install them, then start the app again:\n\n```\n{COMMAND}\n```",
            icon=":material/extension:",
        )


def shipped_models() -> bool:
    """Return whether a small pretrained model came with the app."""
    return any(SHIPPED.glob("models/*/model.json"))


def example(workspace: Workspace, *, first: bool) -> None:
    """Draw the built-in example: an invitation while the workspace is empty, else a line of its own."""
    shipped = shipped_models()
    what = (
        "A small language model that came with the app, ten kinds of sentence transformations and ten of word "
        "problems (90 training and 10 validation pairs each, drawn by a seed)"
        if shipped
        else "Ten kinds of sentence transformations and ten of word problems (90 training and 10 validation pairs "
        "each, drawn by a seed). A small language model is then trained from scratch on this machine, which takes "
        "about an hour on two cores"
    )
    with st.container(border=True, key="generation_example"):
        text, button = st.columns([3.2, 1], vertical_alignment="center")
        text.markdown(f"**{'No model at hand?' if first else 'The built-in example.'}** {what}. Nothing is fetched.")
        button.button(
            "Set up the example", type="primary" if first else "secondary", icon=":material/play_arrow:",
            width="stretch", key="generation_set_up", on_click=set_up, args=(workspace,),
        )  # fmt: skip
    if told := st.session_state.pop("generation_told", ""):
        st.success(plain(told, limit=600), icon=":material/check:")


def set_up(workspace: Workspace) -> None:
    """Put the example into the workspace; what is there already stays. A model that did not come is trained."""
    try:
        new = [line.split(":")[0] for line in install_example(workspace) if line.endswith("new")] if _ships() else []
        for name, make in (("sentences", sentence_pairs), ("problems", word_problem_pairs)):
            for end, pairs in zip(("train", "val"), make(), strict=True):
                if f"{name}-{end}" not in list_pairs(workspace):
                    new.append(f"pairs/{write_pairs(workspace, f'{name}-{end}', pairs)}")
        if not any(record.role == "base" and record.kind == "text" for record in list_records(workspace).values()):
            busy = any(status.active and status.kind == "gen_pretrain" for status in list_jobs(workspace))
            if not busy and not missing_libraries():
                args = {"kind": "text", "name": EXAMPLE_MODEL, "settings": {}}
                start_job(workspace, "gen_pretrain", args, title=f"Pretrain {EXAMPLE_MODEL}")
                new.append(f"a job that trains {EXAMPLE_MODEL}")
        told = f"New: {', '.join(new)}." if new else "Everything was here already."
        looked = (
            " Its scores are ready: see the tabs Scores, Prompts and Wrong pairs." if list_score_runs(workspace) else ""
        )
        st.session_state["generation_told"] = told + looked
    except FVMError as error:
        st.session_state[ERROR_KEY] = str(error)


def _ships() -> bool:
    return any(SHIPPED.glob("*/*"))
