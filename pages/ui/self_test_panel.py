"""Plant wrong labels in the person's own data and see how many of them each list finds, before trusting it."""

from __future__ import annotations

from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.influence.methods import METHODS
from fvm_core.influence.planted import PATTERNS, PlantSettings, read_self_test, self_test_key, self_test_path
from fvm_core.jobs.find import find_jobs
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.score_sets import ScoreFile

PLAIN = ("posterior", "influence", "loss")
WORDS = {"confusions": "As people confuse them", "uniform": "Any other class"}


def draw(workspace: Workspace, file: ScoreFile) -> None:
    """Draw the settings, the running test, or its result, for the model and method of `file`."""
    st.caption(
        "Some labels are changed on purpose, everything is scored again under the same model, and the changed ones are "
        "looked for. Your data, scores and review stay as they are."
    )
    with st.container(horizontal=True, vertical_alignment="bottom"):
        share = st.number_input("Labels to change, %", 1, 50, 10, key="plant_share", width=170)
        limit = st.number_input("of so many images", 20, 1_000_000, 5000, step=1000, key="plant_limit", width=190)
        pattern = st.selectbox("to", PATTERNS[::-1], format_func=WORDS.__getitem__, key="plant_pattern", width=230)
        seed = st.number_input("Seed", 0, 2**31 - 1, 0, key="plant_seed", width=130)
    settings = PlantSettings(share=share / 100, limit=int(limit), seed=int(seed), pattern=pattern)
    known = file.provenance
    methods = tuple(dict.fromkeys((*PLAIN, file.method)))
    validation = known.get("validation", {})
    scoring = {"relabel": "shortlist", "damping": known.get("settings", {}).get("damping", 1e-8)}
    hashes = (file.model_hash, file.fingerprint, str(validation.get("fingerprint")))
    key = self_test_key(*hashes, methods, settings, scoring)
    if self_test_path(workspace, key).exists():
        _result(read_self_test(workspace, key))
        return
    jobs = find_jobs(workspace, "self_test", key=key)
    if jobs and job_view.watch(workspace, jobs[0].id, key="self_test").active:
        return
    if not jobs:
        job_view.show_error()
    args: dict[str, Any] = {
        "model": file.model, "dataset": file.dataset, "validation": str(validation.get("name", "")),
        "methods": list(methods), "settings": settings.to_json(), "key": key,
        "scoring": scoring,
    }  # fmt: skip
    st.button("Run the test", type="primary", icon=":material/science:", key="plant_start", on_click=job_view.start,
              args=(workspace, "self_test", args, f"Self-test of {file.model}"))  # fmt: skip


def table(found: dict[str, Any]) -> pd.DataFrame:
    """Return one row a method: its title, recall in percent after so many images, ROC AUC, suggestions right."""
    rows = []
    for method, result in found["methods"].items():
        row = {"method": METHODS[method].title}
        row |= {f"found after {item['count']:,}": item["recall"] for item in result["at"]}
        row |= {"ROC AUC": 100 * result["auc"], "suggestion right": result["relabel"]}
        rows.append(row)
    return pd.DataFrame(rows)


def _result(found: dict[str, Any]) -> None:
    frame = table(found)
    percent = {name: st.column_config.NumberColumn(format="percent") for name in frame.columns if name != "ROC AUC"}
    del percent["method"]
    st.markdown(f"**{found['planted']:,} wrong labels planted in {found['samples']:,} images.** Of them:")
    st.dataframe(
        frame, hide_index=True, key="plant_table",
        column_config={**percent, "ROC AUC": st.column_config.NumberColumn(format="%.1f")},
    )  # fmt: skip
    chance = min(1.0, found["methods"][next(iter(found["methods"]))]["at"][0]["count"] / found["samples"])
    st.caption(
        f"By chance the first column would be {chance:.0%}. A label that was wrong before counts as right here, so no "
        "list can put only planted ones first. The model was trained on the labels from before: errors that it has "
        "learned itself are harder to find than these."
    )
