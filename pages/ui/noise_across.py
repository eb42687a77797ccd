"""Label noise page, last tab: images of the clean set that are nearly the same as a training image."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.registry import add_dataset, list_datasets, read_spec
from fvm_core.embedding.duplicates import NearPairs, pairs_across
from fvm_core.embedding.store import Seen, across_path
from fvm_core.jobs.find import find_jobs
from fvm_core.workspace import Workspace
from pages.ui import chart, job_view, selection
from pages.ui.clean_rows import without
from pages.ui.neighbours import neighbour_table
from pages.ui.noise_pairs import pair_cards
from pages.ui.score_sets import ScoreFile, modified
from pages.ui.text import plain
from pages.ui.tune_form import free_name

PER_PAGE = 12
START, MOST = 20, 40
SIDES = {"dataset": "the training set", "validation": "the clean set"}
MADE = "noise_across_made"


def draw(workspace: Workspace, file: ScoreFile, train: LabeledImages, clean: LabeledImages, held_out: str) -> None:
    """Draw the job that looks for them, then the pairs beside each other and the way to leave them out.

    Raises:
        DataError: the scores do not say what they come from, or what the job found is damaged.
    """
    st.markdown(f"Images of **{plain(held_out)}** that are nearly the same as one of **{plain(file.dataset)}**:")
    path = across_path(workspace, Seen.behind(file.provenance), clean.fingerprint)
    if not path.exists():
        _job(workspace, file, clean, held_out, path)
        return
    within = st.slider(
        "Pixels differ by at most", 0, MOST, START, key="noise_across_within", persist_state="session",
        help="Root mean square over all pixels, each 0 to 255, at the size that the model sees. 0: the same pixels, "
        "though the files may differ.",
    )  # fmt: skip
    found = pairs_across(neighbour_table((str(path), modified(path))), within=float(within))
    differing = int((train.labels[found.first] != clean.labels[found.second]).sum())
    st.caption(
        "A pair counts if the clean image is among the three nearest of the training image by what the model sees, and "
        f"their pixels differ by at most {within} of 255. {len(found):,} such pairs, {differing:,} of them with "
        "different labels. Look before you leave them out: plain images (sky, snow) begin to pass for copies."
    )
    if not len(found):
        st.success("None at this threshold.", icon=":material/check:")
        return
    _leave_out(workspace, file, train, clean, held_out, found)
    pages = -(-len(found) // PER_PAGE)
    page = st.pagination(pages, key=f"noise_across_page_{within}") if pages > 1 else 1
    shown = range((page - 1) * PER_PAGE, min(page * PER_PAGE, len(found)))
    st.caption("Left the training image, right the clean one.")
    st.html(pair_cards(found, shown, train, clean, ids=True))
    chart.csv_button(_frame(found, train, clean), name="near-duplicates-across")


def _job(workspace: Workspace, file: ScoreFile, clean: LabeledImages, held_out: str, path: Path) -> None:
    jobs = find_jobs(workspace, "across", key=path.stem)
    job = jobs[0] if jobs else None
    if job is not None and (job.active or job.state != "done"):
        with st.container(border=True):
            job = job_view.watch(workspace, job.id, key="across")
        if job.active:
            return
    else:
        job_view.show_error()
    args: dict[str, Any] = {
        "model": file.model, "dataset": file.dataset, "validation": held_out, "key": path.stem,
        "expected": {
            "model": file.model_hash, "dataset": file.fingerprint, "validation": clean.fingerprint,
        },
    }  # fmt: skip
    if (epoch := file.provenance["model"].get("epoch")) is not None:
        args["checkpoint"] = epoch
    with st.container(horizontal=True, vertical_alignment="center"):
        st.button(
            "Look for near-duplicates", icon=":material/content_copy:", key="across_start", on_click=job_view.start,
            args=(workspace, "across", args, f"Near-duplicates of {file.dataset} in {held_out}"),
        )  # fmt: skip
        st.caption(
            f"Shows each image of both sets to {plain(file.model)} once and compares what it sees, then the pixels. "
            "Finds copies that were saved anew, cropped or recoloured a little."
        )


def _leave_out(
    workspace: Workspace, file: ScoreFile, train: LabeledImages, clean: LabeledImages, held_out: str, found: NearPairs
) -> None:
    """Draw the form that makes one of the two sets anew without its half of the pairs."""
    with st.container(horizontal=True, vertical_alignment="bottom"):
        side = st.segmented_control(
            "Leave them out of", list(SIDES), default="dataset", required=True, format_func=SIDES.__getitem__,
            key="noise_across_side",
        )  # fmt: skip
        source, data, rows = (
            (file.dataset, train, found.first) if side == "dataset" else (held_out, clean, found.second)
        )
        ids = list(dict.fromkeys(str(one) for one in data.ids[rows]))
        name = st.text_input(
            "Name of the set without them", free_name(f"{source}-no-near-copies", list_datasets(workspace)),
            key=f"noise_across_name_{source}", width=340, max_chars=64,
        )  # fmt: skip
        pressed = st.button(
            f"Make it without these {len(ids):,} images", type="primary", key="noise_across_make",
            icon=":material/content_cut:",
        )  # fmt: skip
    if pressed:
        made = add_dataset(workspace, name, without(read_spec(workspace, source), workspace, ids))
        st.session_state[MADE] = (side, made, len(ids), source)
    side, made, count, source = st.session_state.get(MADE, ("", "", 0, ""))
    if source in (file.dataset, held_out):
        st.success(
            f"{plain(made)} is {plain(source)} without {count:,} images. Tune and score with it: the scores shown here "
            "are of the old sets.",
            icon=":material/check:",
        )
        if st.button("Tune with it", icon=":material/tune:", key="noise_across_tune"):
            selection.remember("dataset", made if side == "dataset" else file.dataset)
            selection.remember("validation", made if side == "validation" else held_out)
            st.switch_page("pages/tune.py")


def _frame(pairs: NearPairs, train: LabeledImages, clean: LabeledImages) -> pd.DataFrame:
    return pd.DataFrame(
        {
            "id": train.ids[pairs.first], "clean_id": clean.ids[pairs.second],
            "label": [train.class_names[k] for k in train.labels[pairs.first]],
            "clean_label": [clean.class_names[k] for k in clean.labels[pairs.second]],
            "pixel_rms": pairs.pixel_rms, "similarity": pairs.similarity,
        }
    )  # fmt: skip
