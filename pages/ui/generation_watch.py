"""Loss and sharpness of LoRA tunings, live while they run: `curves` with the generation part's metrics."""

from __future__ import annotations

from dataclasses import dataclass

import streamlit as st

from fvm_core.errors import FVMError
from fvm_core.generation.store import list_records
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.metrics import read_metrics
from fvm_core.jobs.status import list_jobs
from fvm_core.workspace import Workspace
from pages.ui import errors
from pages.ui.curves import Run, legend, panel

PANELS = {
    "val_loss": "Loss on the validation pairs",
    "noisy_loss": "Loss on the training pairs",
    "random_sharpness": "Sharpness, random directions",
    "sam_gap": "SAM gap L(w+e) − L(w)",
    "batch_loss": "Loss of the batches (LoRA)",
}
COLOURS = {"lora": "base"}
TITLES = {"lora": "LoRA", "vm": "VM", "fvm": "FVM"}


@dataclass(frozen=True)
class Tuning:
    """A tuning with curves: the adapter's name, its role, and the job that made it or is at it."""

    name: str
    role: str
    job: str
    active: bool = False

    @property
    def label(self) -> str:
        return f"{self.name} · {TITLES.get(self.role, self.role)}" + (" · running" if self.active else "")


def find(workspace: Workspace) -> list[Tuning]:
    """Return what has curves, the newest first."""
    found: dict[str, Tuning] = {}
    made = {record.job: record for record in list_records(workspace).values() if record.role != "base"}
    for status in list_jobs(workspace):
        if status.kind != "gen_tune":
            continue
        try:
            args = open_folder(workspace, status.id).read_spec().args
        except FVMError:
            continue
        record = made.get(status.id)
        name = record.name if record else str(args.get("name", status.title))
        role = record.role if record else str(dict(args.get("settings") or {}).get("role", "lora"))
        if status.state == "done" and record is None:
            continue
        found.setdefault(name, Tuning(name, role, status.id, status.active))
    return list(found.values())


def defaults(found: list[Tuning]) -> list[str]:
    """Return what to draw at first: all that run, and the newest of each role."""
    newest = {item.role: item.name for item in reversed(found)}
    return [item.name for item in found if item.active or newest[item.role] == item.name]


def load(workspace: Workspace, item: Tuning) -> Run:
    """Return its curves as they are now. Raises JobError when the job is gone."""
    frame = read_metrics(workspace, item.job)
    if item.role == "lora":
        frame = frame.rename(columns={"train_loss": "batch_loss"})
    return Run(item.label, COLOURS.get(item.role, item.role), frame)


def watch(workspace: Workspace) -> None:
    """Draw the choice of tunings and their curves."""
    found = {item.name: item for item in find(workspace)}
    if not found:
        return
    key = "generation_watch"
    kept = [name for name in st.session_state.get(key, defaults(list(found.values()))) if name in found]
    added = st.session_state.pop(f"{key}_add", None)
    if added in found and added not in kept:
        kept = [added, *kept]
    st.session_state[key] = kept
    chosen = st.multiselect(
        "Tunings to draw", list(found), key=key, format_func=lambda name: found[name].label, persist_state="session",
        help="Blue: LoRA. Orange: VM. Green: FVM. A second line of one colour is dashed.",
    )  # fmt: skip
    if not chosen:
        st.caption("Choose at least one to see its curves.")
        return
    items = [found[name] for name in chosen]
    (_live if any(item.active for item in items) else _draw)(workspace, items)


def _draw(workspace: Workspace, items: list[Tuning]) -> None:
    runs = [load(workspace, item) for item in items]
    st.html(legend(runs))
    columns = st.columns(3)
    wanted = {
        metric: title for metric, title in PANELS.items()
        if metric != "batch_loss" or any(item.role == "lora" for item in items)
    }  # fmt: skip
    for place, (metric, title) in enumerate(wanted.items()):
        columns[place % 3].altair_chart(panel(runs, metric, title), key=f"generation_{metric}")


@st.fragment(run_every=1)
def _live(workspace: Workspace, items: list[Tuning]) -> None:
    with errors.shown(), st.container(key="live_generation_curves"):
        _draw(workspace, items)
