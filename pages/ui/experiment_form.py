"""Experiments page, first part: what to run, on what, and what it is expected to cost."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.stamp import spec_stamp
from fvm_core.experiments.grid import Grid
from fvm_core.experiments.plan import Plan, make_plan, minutes_of
from fvm_core.experiments.presets import PRESETS
from fvm_core.experiments.store import open_store
from fvm_core.experiments.tables import FIGURES, TABLES, WHAT
from fvm_core.models.store import ModelRecord
from fvm_core.workspace import Workspace
from pages.ui import selection
from pages.ui.score_form import role_title
from pages.ui.times import duration

TITLES = {
    **{key: table.heading for key, table in TABLES.items()},
    **FIGURES,
}
PRESET_TITLES = {
    "cpu": "CPU: slim ResNet-18 and subsets of the data",
    "paper": "Paper: ResNet-34, full settings, one GPU",
    "digits": "Digits: small network",
}


def ask(
    workspace: Workspace, datasets: Mapping[str, DatasetSpec], models: Mapping[str, ModelRecord]
) -> tuple[Grid, Plan] | None:
    """Draw the form and return what it asks for with its plan; None while something is missing.

    Raises:
        FVMError: a dataset cannot be used, or a value is out of range.
    """
    names = list(datasets)
    noisy = [name for name in names if not selection.held_out(name)] or names
    left, right = st.columns([2, 1])
    proposed = selection.propose("dataset", noisy)
    if "experiment_data" in st.session_state:
        st.session_state["experiment_data"] = [name for name in st.session_state["experiment_data"] if name in names]
    data = left.multiselect(
        "Noisy datasets", names, default=[proposed] if proposed else [], key="experiment_data", persist_state="session",
        help="With known clean labels, against which everything is measured. CIFAR-10N's settings are recognised by "
        "their label columns and get the paper's columns beside them.",
    )  # fmt: skip
    with right:
        validation = selection.choose("validation", names, label="Clean validation set")
    bases = [name for name, record in models.items() if record.role in ("base", "imported")]
    one, two, three, four = st.columns([2, 2, 1, 1])
    base = one.selectbox(
        "Base model", [None, *bases], key="experiment_model", persist_state="session",
        format_func=lambda name: role_title(models[name]) if name else "train the preset's network for each seed",
        help="With an existing model the seeds vary tuning and scoring only.",
    )  # fmt: skip
    digits = bool(data) and all(datasets[name].kind == "digits" for name in data)
    presets = list(PRESETS)
    preset = two.selectbox(
        "Preset", presets, index=presets.index("digits" if digits else "cpu"), format_func=PRESET_TITLES.__getitem__,
        key=f"experiment_preset_{digits}",
    )  # fmt: skip
    seeds = three.number_input("Seeds", 1, 20, 3, key="experiment_seeds", help="0, 1, ...: the paper has three.")
    elsewhere = four.number_input(
        "Elsewhere", 1, 20, min(int(PRESETS[preset].seeds_elsewhere or seeds), int(seeds)),
        key=f"experiment_elsewhere_{preset}_{seeds}",
        help="Seeds for the datasets beside the main one (`worse`, else the first).",
    )  # fmt: skip
    what = st.pills(
        "Tables and figures", list(WHAT), selection_mode="multi", default=["table1"], key="experiment_what",
        format_func=lambda key: TITLES[key].partition(":")[0], persist_state="session",
        help="  \n".join(TITLES[key] for key in WHAT),
    )  # fmt: skip
    name = st.text_input(
        "Name of the experiment", "", key="experiment_name", max_chars=64, placeholder="as the preset",
        help="The folder its tables go to. A run with other seeds or datasets adds to the tables of that name.",
    )  # fmt: skip
    if not data or not what or validation is None:
        st.caption("Choose at least one dataset, and at least one table or figure.")
        return None
    grid = Grid(
        what=tuple(what), data=tuple(data), validation=validation, model=base, preset=preset,
        seeds=tuple(range(int(seeds))), seeds_elsewhere=int(elsewhere), name=name,
    )  # fmt: skip
    stamps = tuple(spec_stamp(datasets[each]) for each in (*data, validation))
    version = models[base].sha256 if base else ""
    return grid, _plan(repr(grid.to_json()), (*stamps, version, str(workspace.root)), grid, workspace)


@st.cache_resource(show_spinner="Working out what it takes …", max_entries=8)
def _plan(asked: str, stamps: tuple[str, ...], _grid: Grid, _workspace: Workspace) -> Plan:
    return make_plan(_grid, _workspace)


def show_cost(plan: Plan, workspace: Workspace) -> None:
    """Say how long the work should take, and how much of it is there already."""
    rows = minutes_of(plan, open_store(workspace))
    minutes, parts = sum(row[3] for row in rows), sum(row[2] for row in rows)
    total = len(plan.work())
    if not parts:
        st.caption(f"All {total} parts are there already: only the tables are drawn anew.")
        return
    there = f" {total - parts} of {total} parts are there already." if parts < total else ""
    st.caption(
        f"Expected: about **{duration(60 * minutes)}** on an idle machine like the one the preset was measured on, "
        f"for {parts} trainings, tunings and scorings.{there}"
    )
    with st.expander("Expected time of each table", icon=":material/schedule:"):
        st.table(_costs(rows).set_index("Table or figure"), border="horizontal")
        st.caption("What tables share counts for the first of them.")


def _costs(rows: Sequence[tuple[str, int, int, float]]) -> pd.DataFrame:
    return pd.DataFrame(
        [
            {
                "Table or figure": TITLES[name], "Cells": str(cells), "Parts to do": str(parts),
                "Expected": duration(60 * minutes) if parts else "–",
            }
            for name, cells, parts, minutes in rows
        ]
    )  # fmt: skip
