"""Scoring of pairs, and how well each method finds the pairs of the same class (Eq. 23), beside Tables 4 and 5."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.files import slug
from fvm_core.generation.published import DIFFERENCES, TASKS, PublishedRow, printed_rows, task_like
from fvm_core.generation.settings import METHODS, PairScoreSettings
from fvm_core.generation.store import GenerationRecord, list_records
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace
from pages.ui import chart, generation_planted, generation_spread
from pages.ui.errors import shown
from pages.ui.generation_jobs import running
from pages.ui.generation_models import ROLES
from pages.ui.generation_runs import Group, choose_group, groups, tables
from pages.ui.generation_sets import sets_of_kind

USUAL = PairScoreSettings()


def draw(workspace: Workspace) -> None:
    """Draw the form, the jobs that are at it, the table and the distributions."""
    records = list_records(workspace)
    tuned = [record for record in records.values() if record.role != "base"]
    busy = any(status.active and status.kind == "gen_score" for status in list_jobs(workspace))
    there = bool(groups(workspace))
    if tuned:
        title = "Score with another model" if there else "Score the training pairs"
        part = st.expander(title, icon=":material/scoreboard:", expanded=not (busy or there), key=f"gen_score_{busy}")
        with part, shown(stop=False):
            _form(workspace, tuned)
    running(workspace, "gen_score")
    a, b = st.columns([2, 1.2], vertical_alignment="bottom")
    with a:
        group = choose_group(workspace, key="generation_scores_of")
    if group is None:
        return
    with shown(stop=False):
        _table(workspace, group, b)
        generation_planted.draw(workspace, group)
        generation_spread.draw(workspace, group)


def _form(workspace: Workspace, tuned: list[GenerationRecord]) -> None:
    records = {record.name: record for record in reversed(tuned)}
    a, b, c, d = st.columns([1.6, 2, 1.4, 1], vertical_alignment="bottom")
    model = a.selectbox(
        "Tuned adapter", list(records), key="generation_score_model",
        format_func=lambda name: f"{name} · {ROLES[records[name].role]}",
    )  # fmt: skip
    record = records[model]
    usual = ["tracin", "datainf"] if record.role == "lora" else ["influence"]
    methods = b.multiselect(
        "Methods", list(METHODS), default=usual, key=f"generation_methods_{model}", format_func=METHODS.__getitem__,
        help="The paper's at this adapter: TracIn and DataInf after LoRA, Eq. 20 at a validation minimum.",
    )  # fmt: skip
    run = c.text_input("Name of the scores", value=model, max_chars=64, key=f"generation_run_{model}")
    pressed = d.button(
        "Score", type="primary", icon=":material/play_arrow:", key="generation_start_scoring", width="stretch"
    )
    with st.expander("Settings", icon=":material/settings:", key="generation_score_settings"):
        values, sets = _settings(workspace, record)
    if pressed:
        settings = PairScoreSettings(methods=",".join(methods), **values)
        args = {"model": model, "run": slug(run), "settings": settings.to_json(), **sets}
        start_job(workspace, "gen_score", args, title=f"Score pairs at {model}")
        st.rerun()


def _settings(workspace: Workspace, record: GenerationRecord) -> tuple[dict[str, Any], dict[str, str]]:
    a, b, c, d, e, f = st.columns(6)
    values = {
        "epsilon": float(
            a.number_input("Epsilon", 0.0, 1.0, USUAL.epsilon, step=0.01, key="gen_epsilon", help="Paper: 0.01.")
        ),
        "damping": float(
            b.number_input(
                "Damping", 1e-9, 100.0, USUAL.damping, step=1e-3, format="%.5f", key="gen_damping",
                help="Added to the Fisher diagonal, in units of its mean.",
            )
        ),
        "datainf_damping": float(
            c.number_input("DataInf's damping", 1e-9, 100.0, USUAL.datainf_damping, step=0.1, key="gen_datainf")
        ),
        "batch_size": int(
            d.number_input("Pairs at a time", 1, 4096, USUAL.batch_size, key="gen_batch", help="Lower: less memory.")
        ),
    }  # fmt: skip
    sets = sets_of_kind(workspace, record.kind)
    chosen = {}
    for column, part, word in ((e, "training", "Training pairs"), (f, "validation", "Validation pairs")):
        chosen[part] = column.selectbox(
            word, ["", *sets], key=f"gen_{part}", format_func=lambda name: name or "as tuned",
            help="By default those that the adapter was tuned with.",
        )  # fmt: skip
    return values, {part: name for part, name in chosen.items() if name}


def _table(workspace: Workspace, group: Group, place: Any) -> None:
    frames = [tables(workspace, run.name)[0] for run in group.runs]
    ours = pd.concat(frames, ignore_index=True) if any(len(frame) for frame in frames) else pd.DataFrame()
    if ours.empty:
        st.caption("These pairs have no classes, so that nothing tells which should speak for which (Eq. 23).")
        return
    st.subheader("Pairs of the same class found")
    tasks = {"": "nothing", **TASKS}
    guess = list(tasks).index(task_like(group.title))
    task = place.selectbox(
        "Beside the paper's", list(tasks), index=guess, key="gen_task", format_func=tasks.__getitem__
    )
    printed = printed_rows(str(task)) if task else {}
    frame = beside(ours, printed)
    st.dataframe(frame, hide_index=True, height="content")
    st.caption(
        "Mean ± standard deviation over the validation pairs, in percent. Recall: of the highest-scored training "
        "pairs, as many as the class has, the share of that class. "
        + (f"{DIFFERENCES[str(task)]} † as reported by the DataInf paper." if task else "")
    )
    chart.csv_button(frame, name="generation-table", label="Table as CSV")


def beside(ours: pd.DataFrame, printed: Mapping[str, PublishedRow]) -> pd.DataFrame:
    """Return one row a method: our figures, and those printed for a method of that name."""
    rows, used = [], set()
    for row in ours.to_dict("records"):
        used.add(row["method"])
        rows.append(
            {
                "Method": row["method"],
                "Scores": row["run"],
                "ROC AUC": spread(row["auc_mean"], row["auc_std"]),
                "Recall": spread(row["recall_mean"], row["recall_std"]),
                **_paper(printed.get(row["method"])),
            }
        )
    for method, found in printed.items():
        if method not in used:
            rows.append({"Method": method, "Scores": "", "ROC AUC": "", "Recall": "", **_paper(found)})
    frame = pd.DataFrame(rows)
    return frame if printed else frame.drop(columns=["Paper's ROC AUC", "Paper's recall"])


def spread(mean: float, std: float) -> str:
    """Return both numbers in words.

    >>> spread(99.914, 0.178)
    '99.91 ± 0.18'
    """
    return f"{mean:.2f} ± {std:.2f}"


def _paper(found: PublishedRow | None) -> dict[str, str]:
    return {
        "Paper's ROC AUC": spread(found.auc, found.auc_std) if found else "",
        "Paper's recall": spread(found.recall, found.recall_std) if found else "",
    }
