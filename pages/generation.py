"""Generation page: which training pairs shaped what a LoRA-tuned language or image model generates, and are wrong."""

from __future__ import annotations

import streamlit as st

from fvm_core.generation.store import list_pairs, list_records
from fvm_core.workspace import Workspace, current_workspace
from pages.ui import (
    generation_models,
    generation_prompts,
    generation_review,
    generation_scores,
    generation_sets,
    generation_start,
    generation_tune,
)
from pages.ui.errors import shown
from pages.ui.generation_jobs import running
from pages.ui.generation_runs import groups

TABS = ["Models and pairs", "Tune", "Scores", "Prompts", "Wrong pairs"]


def main() -> None:
    workspace = current_workspace()
    st.title("Generation")
    with shown():
        first = not list_records(workspace) and not list_pairs(workspace)
        if first and not groups(workspace):
            st.markdown(
                "For a language or image model tuned with LoRA: which training pairs speak for what it generates, and "
                "which of them are wrong? The adapter is tuned on to a **flat minimum of the validation pairs' loss** "
                "(VM, FVM), and every training pair gets its influence there (Eq. 20, 21), as in sections 4.3 and 4.4."
            )
        generation_start.libraries_note()
    tabs = dict(zip(TABS, st.tabs(TABS, key="generation_tab", on_change="rerun"), strict=True))
    for name, tab in tabs.items():
        if tab.open:
            with tab, shown():
                draw(workspace, name, first=first)


def draw(workspace: Workspace, name: str, *, first: bool) -> None:
    """Draw one tab; only the open one is drawn."""
    if name == "Models and pairs":
        generation_start.example(workspace, first=first)
        running(workspace, "gen_pretrain")
        generation_sets.draw(workspace)
        generation_models.draw(workspace)
    elif name == "Tune":
        generation_tune.draw(workspace)
    elif name == "Scores":
        generation_scores.draw(workspace)
    elif name == "Prompts":
        generation_prompts.draw(workspace)
    else:
        generation_review.draw(workspace)


main()
