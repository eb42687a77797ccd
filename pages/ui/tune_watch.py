"""Which trainings and tunings there are to look at: finished models with their curves, and jobs still at it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.metrics import MetricsTail, read_metrics
from fvm_core.jobs.status import list_jobs
from fvm_core.models.store import list_models
from fvm_core.tuning.solvers import SOLVER_INFO, role_of
from fvm_core.workspace import Workspace
from pages.ui.curves import Run
from pages.ui.theme import model_title


@dataclass(frozen=True)
class Watched:
    """Something with curves, under the name of its model. `job`: the job that has not made the model yet, or "".

    `solver`: what tunes or tuned it, "" where that is not known (trainings, models of before there was a choice).
    """

    name: str
    role: str
    job: str = ""
    active: bool = False
    solver: str = ""

    @property
    def family(self) -> str:
        """What the charts show one of at first: a role, and of the FVMs one a solver."""
        return model_title(self.role, self.solver)

    @property
    def label(self) -> str:
        return f"{self.name} · {model_title(self.role, self.solver)}" + (" · running" if self.active else "")


def find(workspace: Workspace, *, kind: str) -> list[Watched]:
    """Return what has curves, the newest first: jobs of `kind` ("tune" or "train") that left no model, then models."""
    roles = ("vm", "fvm") if kind == "tune" else ("base",)
    models = {record.name: record for record in list_models(workspace).values() if record.role in roles}
    found: dict[str, Watched] = {}
    for status in list_jobs(workspace):
        if status.kind != kind or status.state == "done":
            continue
        try:
            args = open_folder(workspace, status.id).read_spec().args
        except FVMError:
            continue
        name = str(args.get("name", status.title))
        if name not in models and name not in found:
            solver = _solver(args.get("settings", {}))
            role = role_of(solver) if solver else "base"
            found[name] = Watched(name, role, job=status.id, active=status.active, solver=solver)
    for name, record in reversed(models.items()):
        if (workspace.models / name / "metrics.jsonl").exists():
            found[name] = Watched(name, record.role, solver=_solver(record.settings))
    return list(found.values())


def _solver(settings: Mapping[str, Any]) -> str:
    solver = settings.get("solver")
    return solver if isinstance(solver, str) and solver in SOLVER_INFO else ""


def defaults(found: list[Watched]) -> list[str]:
    """Return the names to show at first: everything that runs, and the newest of each role and solver beside it."""
    chosen = [item.name for item in found if item.active]
    families = {item.family for item in found if item.active}
    for item in found:
        if item.family not in families and not item.active:
            chosen.append(item.name)
            families.add(item.family)
    return chosen


def load(workspace: Workspace, item: Watched) -> Run:
    """Return its curves as they are now. Raises JobError when the job is gone."""
    frame = read_metrics(workspace, item.job) if item.job else model_metrics(workspace.models / item.name)
    return Run(item.label, item.role, frame)


def model_metrics(folder: Path) -> pd.DataFrame:
    """Return the metrics kept beside a model; read again only when the file changed."""
    path = folder / "metrics.jsonl"
    return _read(str(path), path.stat().st_mtime_ns if path.exists() else 0)


@st.cache_data(max_entries=64, show_spinner=False)
def _read(path: str, changed: int) -> pd.DataFrame:
    return MetricsTail(Path(path)).frame()
