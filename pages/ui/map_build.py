"""From scores to a map: its settings, the job that makes it, and the file once there is something to show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import streamlit as st

from fvm_core.embedding.settings import MapSettings
from fvm_core.embedding.store import Seen, map_path
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.status import JobStatus
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.score_sets import ScoreFile, modified
from pages.ui.text import plain


def choose_settings() -> MapSettings:
    """Draw UMAP's two settings in a popover and return them."""
    known = MapSettings()
    with st.popover("Map settings", icon=":material/tune:"):
        near = st.select_slider(
            "Neighbours", [5, 10, 15, 30, 50, 100], value=known.n_neighbors, key="map_neighbours",
            help="UMAP: more neighbours show more of the whole, fewer show more detail.", persist_state="session",
        )  # fmt: skip
        apart = st.select_slider(
            "Smallest distance", [0.0, 0.1, 0.25, 0.5, 0.8], value=known.min_dist, key="map_min_dist",
            help="UMAP: how tightly points may lie together.", persist_state="session",
        )  # fmt: skip
        st.caption("Another setting is another map: a job makes it once, then it is kept.")
    return MapSettings(n_neighbors=int(near), min_dist=float(apart))


def map_file(workspace: Workspace, file: ScoreFile, settings: MapSettings, *, finished: bool) -> Path | None:
    """Draw the job or the button that makes the map unless it is `finished`, and return its file, None before there is
    one.

    Raises:
        DataError: the scores do not say what they come from.
    """
    path = map_path(workspace, Seen.behind(file.provenance), settings)
    if not finished:
        _job(workspace, file, settings, path)
    return path if path.exists() else None


def _job(workspace: Workspace, file: ScoreFile, settings: MapSettings, path: Path) -> None:
    jobs = find_jobs(workspace, "map", key=path.stem)
    job = jobs[0] if jobs else None
    if job is not None and (job.active or job.state != "done"):
        with st.container(border=True):
            job = job_view.watch(workspace, job.id, key="map")
        if job.active:
            _until_changed(str(path), modified(path))
            return
    else:
        job_view.show_error()
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Make the map", type="primary", icon=":material/scatter_plot:", key="map_start", on_click=_start,
            args=(workspace, file, settings, path.stem),
        )  # fmt: skip
        st.caption(_what(file, job))


def _what(file: ScoreFile, job: JobStatus | None) -> str:
    """Return what the button does."""
    again = "The file of an earlier map is gone. " if job is not None and job.state == "done" else ""
    return (
        f"{again}Shows each image of {plain(file.dataset)} to {plain(file.model)} once and lays the images out by what "
        "it sees. Principal components come first, UMAP follows."
    )


def _start(workspace: Workspace, file: ScoreFile, settings: MapSettings, key: str) -> None:
    known = file.provenance["model"]
    args: dict[str, Any] = {
        "model": file.model, "dataset": file.dataset, "settings": settings.to_json(), "key": key,
        "expected": {"model": file.model_hash, "dataset": file.fingerprint},
    }  # fmt: skip
    if known.get("epoch") is not None:
        args["checkpoint"] = known["epoch"]
    job_view.start(workspace, "map", args, f"Map of {file.dataset} by {file.model}")


@st.fragment(run_every=1)
def _until_changed(path: str, before: int) -> None:
    """Run the page again, once, when the file appears or is written anew."""
    if modified(path) != before:
        st.rerun()
