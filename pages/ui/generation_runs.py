"""Score runs of pairs as the page reads them: kept between reruns until a file changes, grouped by their pairs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
import streamlit as st
from numpy.typing import NDArray

from fvm_core.generation.score_store import (
    TRAINING,
    VALIDATION,
    ScoreRun,
    list_score_runs,
    method_title,
    read_matrix,
    read_samples,
    run_folder,
)
from fvm_core.generation.table import influence_table, wrong_table
from fvm_core.workspace import Workspace

ORDER = ("lora", "vm", "fvm")


@dataclass(frozen=True)
class Group:
    """Runs on the same training and validation pairs: what can be compared."""

    title: str
    runs: tuple[ScoreRun, ...]

    @property
    def methods(self) -> list[tuple[ScoreRun, str]]:
        """Every (run, method), in the order of LoRA, VM, FVM."""
        return [(run, method) for run in self.runs for method in run.methods]

    def label(self, run: ScoreRun, method: str) -> str:
        """Return the method's title, with the run's name where another run has the same title."""
        title = method_title(run, method)
        alike = sum(method_title(other, one) == title for other, one in self.methods)
        return title if alike < 2 else f"{title} · {run.name}"


def groups(workspace: Workspace) -> list[Group]:
    """Return the runs by their sets of pairs, in the order of the names."""
    found: dict[tuple[str, str], list[ScoreRun]] = {}
    for run in list_score_runs(workspace).values():
        about = [run.provenance.get(part) or {} for part in (TRAINING, VALIDATION)]
        key = "\0".join(str(one.get("fingerprint", "")) for one in about)
        name = " against ".join(str(one.get("name", "?")) for one in about)
        found.setdefault((name, key), []).append(run)
    return [Group(name, tuple(sorted(runs, key=_place))) for (name, _), runs in sorted(found.items())]


def _place(run: ScoreRun) -> tuple[int, str]:
    role = str(run.provenance.get("model", {}).get("role", ""))
    return (ORDER.index(role) if role in ORDER else len(ORDER), run.name)


def samples(workspace: Workspace, run: str, part: str) -> pd.DataFrame:
    """Return `read_samples`, kept until the file changes. Raises DataError."""
    return _samples(workspace, run, part, changed(workspace, run, part))


def matrix(workspace: Workspace, run: str, method: str) -> NDArray[np.float32]:
    """Return `read_matrix`, kept until the file changes. Raises DataError."""
    return _matrix(workspace, run, method, changed(workspace, run, method))


def tables(workspace: Workspace, run: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Return the rows of `influence_table` and `wrong_table` of a run. Raises DataError."""
    return _tables(workspace, run, changed(workspace, run, TRAINING))


def by_suspicion(workspace: Workspace, run: str, suspicion: str) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return the rows of training pairs, the most suspicious first, and the place of each row from 1 on."""
    return _by_suspicion(workspace, run, suspicion, changed(workspace, run, TRAINING))


def rows_by_id(workspace: Workspace, run: str) -> dict[str, int]:
    """Return the row of each training pair by its id."""
    return _rows_by_id(workspace, run, changed(workspace, run, TRAINING))


def changed(workspace: Workspace, run: str, part: str) -> tuple[str, int]:
    """Return what tells one version of a run's file from another."""
    path = run_folder(workspace, run) / f"{part}.parquet"
    return str(path), path.stat().st_mtime_ns if path.exists() else 0


@st.cache_resource(show_spinner="Reading the scores …", max_entries=16)
def _samples(_workspace: Workspace, run: str, part: str, version: tuple[str, int]) -> Any:
    return read_samples(_workspace, run, part)


@st.cache_resource(show_spinner="Reading the scores …", max_entries=16)
def _matrix(_workspace: Workspace, run: str, method: str, version: tuple[str, int]) -> Any:
    return read_matrix(_workspace, run, method)


@st.cache_resource(show_spinner=False, max_entries=8)
def _by_suspicion(_workspace: Workspace, run: str, suspicion: str, version: tuple[str, int]) -> Any:
    values = samples(_workspace, run, TRAINING)[f"suspicion_{suspicion}"].to_numpy(np.float64)
    order = np.argsort(-values, kind="stable")
    places = np.empty(len(order), np.int64)
    places[order] = np.arange(1, len(order) + 1)
    return order, places


@st.cache_resource(show_spinner=False, max_entries=4)
def _rows_by_id(_workspace: Workspace, run: str, version: tuple[str, int]) -> Any:
    return {str(one): row for row, one in enumerate(samples(_workspace, run, TRAINING)["id"])}


@st.cache_resource(show_spinner="Comparing the methods …", max_entries=32)
def _tables(_workspace: Workspace, run: str, version: tuple[str, int]) -> Any:
    return influence_table(_workspace, [run]), wrong_table(_workspace, [run])


def choose_group(workspace: Workspace, *, key: str) -> Group | None:
    """Draw the choice of pairs whose scores are looked at; words in its place while there are none."""
    found = {group.title: group for group in groups(workspace)}
    if not found:
        st.info("There are no scores of pairs yet. Tune an adapter, then score it.", icon=":material/scoreboard:")
        return None
    return found[st.selectbox("Pairs", list(found), key=key, persist_state="session")]


def choose_method(group: Group, *, key: str) -> tuple[ScoreRun, str]:
    """Draw the choice of one run and method of a group, the last one (FVM, if there) first."""
    labels = {group.label(run, method): (run, method) for run, method in group.methods}
    return labels[st.selectbox("Method", list(labels), index=len(labels) - 1, key=key, persist_state="session")]
