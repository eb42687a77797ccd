"""Whether every image of a dataset can be read: a job decodes them all, and the page tells what it found."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fvm_core.data.cache import PixelCache
from fvm_core.data.check_job import read_unreadable
from fvm_core.data.dataset import LabeledImages
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import JobStatus
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.times import ago


def check_images(
    workspace: Workspace, name: str, dataset: LabeledImages, broken: dict[int, str], *, size: int, channels: int,
    key: str,
) -> None:  # fmt: skip
    """Draw the button for a job that decodes every image once, and the images set aside.

    `broken` are those that the page found unreadable before. The newest check of this very dataset is shown, by its
    fingerprint: live while it runs, then what it found.
    """
    job = next(iter(_checks(workspace, dataset, size, channels)), None)
    pressed = st.button(
        "Check every image", icon=":material/image_search:", key=f"{key}_check",
        disabled=job is not None and job.active,
        help=f"Decodes all of them to {size} x {size} pixels, as the tuning will, and keeps the result.",
    )  # fmt: skip
    if pressed:
        args = {"dataset": name, "fingerprint": dataset.fingerprint, "size": size, "channels": channels}
        start_job(workspace, "check_images", args, title=f"Check every image of {name}")
        st.rerun()
    if job is not None and job.state != "done":
        with st.container(border=True):
            job = job_view.watch(workspace, job.id, key=f"{key}_check")
    known = PixelCache(dataset, size=size, channels=channels, folder=workspace.cache).set_aside
    if job is not None and job.state == "done":
        known = {**_listed(workspace, dataset, job), **known}
    found = {**broken, **known}
    if job is not None and job.state == "done" and not found:
        st.success(f"All {len(dataset):,} images can be read (checked {ago(job.updated)}).", icon=":material/check:")
    set_aside_table(dataset, found)


def _checks(workspace: Workspace, dataset: LabeledImages, size: int, channels: int) -> list[JobStatus]:
    return find_jobs(workspace, "check_images", fingerprint=dataset.fingerprint, size=size, channels=channels)


def _listed(workspace: Workspace, dataset: LabeledImages, job: JobStatus) -> dict[int, str]:
    """Return index -> reason from the job's own list: it outlives the pixel cache."""
    if not (job.result or {}).get("unreadable"):
        return {}
    reasons = read_unreadable(workspace.jobs / job.id)
    return {index: reasons[name] for index, name in enumerate(dataset.ids.tolist()) if name in reasons}


def set_aside_table(dataset: LabeledImages, broken: dict[int, str]) -> None:
    """Draw the images that cannot be read, with the reason; nothing when there is none."""
    if not broken:
        return
    st.warning(
        f"{len(broken):,} image{' is' if len(broken) == 1 else 's are'} unreadable and set aside: the others are used.",
        icon=":material/broken_image:",
    )
    rows = sorted(broken.items())[:1000]
    frame = pd.DataFrame({"id": [str(dataset.ids[index]) for index, _ in rows], "reason": [text for _, text in rows]})
    st.dataframe(frame, hide_index=True)
