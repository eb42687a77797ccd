"""Images that are in the training set and in the validation set: looked for once, warned of before tuning."""

from __future__ import annotations

import pandas as pd
import streamlit as st

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.overlap import Overlap, overlap
from fvm_core.errors import DataError, StorageError
from fvm_core.files import read_json, write_json
from fvm_core.workspace import Workspace
from pages.ui.text import plain

Pairs = list[tuple[str, str]]

AT_ONCE = 200_000


def known_overlap(workspace: Workspace, train: LabeledImages, validation: LabeledImages) -> Pairs | None:
    """Return the pairs of ids found by an earlier check of the same two sets, or None if there was none."""
    path = workspace.cache / "overlap" / f"{train.fingerprint[:24]}-{validation.fingerprint[:24]}.json"
    if not path.exists():
        return None
    try:
        kept = read_json(path, what="overlap")
        return [(str(first), str(second)) for first, second in kept["pairs"]] if kept["complete"] else None
    except (DataError, KeyError, TypeError, ValueError):
        return None


def find_overlap(workspace: Workspace, train: LabeledImages, validation: LabeledImages) -> Pairs:
    """Return the pairs of ids (training, validation) with the same image bytes; kept by the two fingerprints.

    Shows a bar while it reads the images. A result that the disk does not take is used all the same.
    """
    pairs = known_overlap(workspace, train, validation)
    if pairs is not None:
        return pairs
    bar = st.progress(0.0, text="Looking for images that are in both sets …")

    def report(done: int, total: int) -> None:
        bar.progress(done / max(total, 1), text="Looking for images that are in both sets …")

    try:
        found: Overlap = overlap(train, validation, report)
    finally:
        bar.empty()
    path = workspace.cache / "overlap" / f"{train.fingerprint[:24]}-{validation.fingerprint[:24]}.json"
    try:
        write_json(path, {"pairs": [list(pair) for pair in found.pairs], "complete": True})
    except StorageError:
        st.caption("The disk is full: the result of this check was not kept.")
    return list(found.pairs)


def warn_of_overlap(workspace: Workspace, train: LabeledImages, validation: LabeledImages) -> Pairs | None:
    """Check (at once for up to 200,000 images, else on a click) and draw a warning if there are any.

    Returns the pairs, or None when it was not checked yet.
    """
    pairs = known_overlap(workspace, train, validation)
    if pairs is None:
        size = len(train) + len(validation)
        if size > AT_ONCE and not st.button(f"Look for overlap among {size:,} images", key="check_overlap"):
            st.warning(
                "Not checked: whether the two sets share images. That would make the scores look better than they are.",
                icon=":material/help:",
            )
            return None
        pairs = find_overlap(workspace, train, validation)
    if pairs:
        one = len(pairs) == 1
        st.warning(
            f"**{len(pairs):,} training {'image is' if one else 'images are'} also in the validation set** "
            f"({len(pairs) / len(train):.1%} of the training set). The tuned model has then seen their clean labels: "
            f"leave {'it' if one else 'them'} out of one of the two sets before you trust a score.",
            icon=":material/warning:",
        )
    return pairs


def cleared(workspace: Workspace, train: LabeledImages, validation: LabeledImages) -> bool:
    """Check as `warn_of_overlap` does and return whether a tuning may start.

    It may if the sets share no image, or when the person ticks that it is known that they do, or were not compared.
    """
    pairs = warn_of_overlap(workspace, train, validation)
    if pairs is not None and not pairs:
        return True
    pair = f"{train.fingerprint[:12]}_{validation.fingerprint[:12]}"
    if pairs is None:
        return st.checkbox("Start without this check", key=f"overlap_unchecked_{pair}")
    return st.checkbox("Start all the same: I know that the scores may look too good", key=f"overlap_known_{pair}")


def pairs_table(pairs: Pairs) -> None:
    """Draw the first 1,000 pairs."""
    st.dataframe(pd.DataFrame(pairs[:1000], columns=["training id", "validation id"]), hide_index=True, height=220)
    if len(pairs) > 1000:
        st.caption(plain(f"The first 1,000 of {len(pairs):,} pairs."))
