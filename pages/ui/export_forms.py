"""A review in the forms of other tools: choose the form and images, a job writes it, the browser gets it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.files import write_json
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import JobStatus
from fvm_core.review.export import Exported
from fvm_core.review.exports.forms import FORMS, ROWS
from fvm_core.review.session import ReviewSession
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.errors import shown
from pages.ui.text import plain

DOWNLOADABLE = 512 * 2**20
"""Bytes above which a result is taken from its folder: a download goes through the server's memory."""


def export_forms(
    workspace: Workspace,
    session: ReviewSession,
    dataset: LabeledImages,
    write: Callable[[str], Exported],
    chosen: Callable[[], Sequence[str]],
) -> None:
    """Draw the choice of form and images, the button, and the last export of this review.

    `write(name)` freezes the labels as they are now; `chosen()` gives the ids that the filter above shows.
    """
    left, right, button = st.columns([2, 2, 1], vertical_alignment="bottom")
    form = left.selectbox(
        "Form", list(FORMS), format_func=lambda key: FORMS[key].title, key="export_form", persist_state="session"
    )
    rows = right.selectbox(
        "Images", list(ROWS), format_func=lambda row: ROWS[row].capitalize(), key="export_rows",
        persist_state="session",
        help="The filter above the gallery decides what 'chosen above' means.",
    )  # fmt: skip
    st.caption(f"Loaded by: {plain(FORMS[form].loads)}")
    title = f"Export {session.dataset}, {session.name}"
    with shown(stop=False):
        if button.button("Export", icon=":material/ios_share:", key="export_start", width="stretch"):
            time = datetime.now(UTC).strftime("%Y%m%d-%H%M%S")
            name = f"{session.dataset[:20]}-{session.name[:20]}-{form}-{time}"
            labels = write(f"labels-{time}-{session.id[:8]}")
            args = {
                "spec": dataset.spec.to_json(), "fingerprint": dataset.fingerprint, "labels": labels.parquet.name,
                "form": form, "name": name, "rows": rows, "packed": True,
            }  # fmt: skip
            if rows == "ids":
                ids = labels.parquet.with_suffix(".ids.json")
                write_json(ids, list(chosen()))
                args["ids"] = str(ids)
            start_job(workspace, "export", args, title=f"{title}: {FORMS[form].title}")
        found = [one for one in find_jobs(workspace, "export") if one.title.startswith(f"{title}: ")]
        if found:
            result(job_view.watch(workspace, found[0].id, key="export"))


def result(status: JobStatus) -> None:
    """Draw what a finished export says, and the download where it is small enough."""
    if status.state != "done" or not status.result:
        return
    path, size = Path(str(status.result["path"])), int(status.result["bytes"])
    lost = int(status.result.get("unreadable", 0))
    images = int(status.result.get("samples", status.result.get("flagged", 0)))
    said = f"{images:,} images, {size / 2**20:.1f} MiB in {plain(path)}"
    st.caption(f"{said}. {lost:,} could not be read and are named in about.json." if lost else f"{said}.")
    if path.is_file() and size <= DOWNLOADABLE:
        st.download_button(
            "Download", path.read_bytes, file_name=path.name, icon=":material/download:", on_click="ignore",
            key=f"export_download_{status.id}",
        )  # fmt: skip
