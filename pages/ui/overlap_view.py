"""Images that are in the training set and in the validation set: a job looks for them, and tuning is warned of them."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.overlap_job import read_pairs
from fvm_core.jobs.find import find_jobs
from fvm_core.jobs.launch import start_job
from fvm_core.jobs.status import JobStatus, job_status
from fvm_core.workspace import Workspace
from pages.ui import job_view
from pages.ui.open_data import open_cached
from pages.ui.text import plain

Pairs = list[tuple[str, str]]

AT_ONCE = 200_000


def warn_of_overlap(workspace: Workspace, train: str, validation: str) -> Pairs | None:
    """Draw the check of two datasets: its job while it runs, then a warning if they share images.

    The job starts by itself for up to 200,000 images, else on a click; one that has compared the same two sets before
    (by their fingerprints) is taken instead. Returns the pairs of ids, or None while they are not known.

    Raises:
        DataError: a dataset cannot be opened, or the pairs that were found are lost.
        JobError, StorageError: the job cannot be started.
    """
    first, second = open_cached(workspace, train), open_cached(workspace, validation)
    job = _find(workspace, first, second)
    if job is None:
        size = len(first) + len(second)
        if size > AT_ONCE and not st.button(f"Look for overlap among {size:,} images", key="check_overlap"):
            _not_checked()
            return None
        job = _start(workspace, train, validation, first, second)
    if job.state != "done":
        with st.container(border=True):
            job = job_view.watch(workspace, job.id, key="overlap")
        if job.state != "done":
            if not job.active:
                _not_checked()
            return None
    pairs = _pairs(workspace.jobs / job.id)
    if pairs:
        one = len(pairs) == 1
        st.warning(
            f"**{len(pairs):,} training {'image is' if one else 'images are'} also in the validation set** "
            f"({len(pairs) / len(first):.1%} of the training set). The tuned model has then seen their clean labels: "
            f"leave {'it' if one else 'them'} out of one of the two sets before you trust a score.",
            icon=":material/warning:",
        )
    unreadable = int((job.result or {}).get("unreadable", 0))
    if unreadable:
        st.caption(f"{unreadable:,} {'image' if unreadable == 1 else 'images'} could not be read and compared.")
    return pairs


def cleared(workspace: Workspace, train: str, validation: str) -> bool:
    """Check as `warn_of_overlap` does and return whether a tuning may start.

    It may if the sets share no image, or when the person ticks that it is known that they do, or were not compared.
    """
    pairs = warn_of_overlap(workspace, train, validation)
    if pairs is not None and not pairs:
        return True
    pair = "_".join(open_cached(workspace, name).fingerprint[:12] for name in (train, validation))
    if pairs is None:
        return st.checkbox("Start without this check", key=f"overlap_unchecked_{pair}")
    return st.checkbox("Start all the same: I know that the scores may look too good", key=f"overlap_known_{pair}")


def pairs_table(pairs: Pairs) -> None:
    """Draw the first 1,000 pairs."""
    frame = pd.DataFrame(pairs[:1000], columns=["training id", "validation id"])
    st.dataframe(frame, hide_index=True, height=220 if len(frame) > 5 else "auto")
    if len(pairs) > 1000:
        st.caption(plain(f"The first 1,000 of {len(pairs):,} pairs."))


def _find(workspace: Workspace, train: LabeledImages, validation: LabeledImages) -> JobStatus | None:
    """Return the newest job that has compared these very sets, or else the newest that was to."""
    jobs = find_jobs(
        workspace, "overlap", train_fingerprint=train.fingerprint, validation_fingerprint=validation.fingerprint
    )
    return next((job for job in jobs if job.state == "done"), jobs[0] if jobs else None)


def _start(workspace: Workspace, train: str, validation: str, first: LabeledImages, second: LabeledImages) -> JobStatus:
    args = {
        "train": train, "train_fingerprint": first.fingerprint,
        "validation": validation, "validation_fingerprint": second.fingerprint,
    }  # fmt: skip
    return job_status(workspace, start_job(workspace, "overlap", args, title=f"Overlap of {train} and {validation}"))


def _not_checked() -> None:
    st.warning(
        "Not checked yet: whether the two sets share images. That would make the scores look better than they are.",
        icon=":material/help:",
    )


@st.cache_data(max_entries=8, show_spinner=False)
def _pairs(folder: Path) -> Pairs:
    return read_pairs(folder)
