"""Decisions out of an exported table, written into a review's log: once, however often it is done."""

from __future__ import annotations

import hashlib
import math
from typing import Any

import pandas as pd

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import ReviewError
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog

NEEDED = ("id", "label", "action")
STEP = 2000


def import_decisions(
    log: DecisionLog, session: str, frame: pd.DataFrame, dataset: LabeledImages, *, reviewer: str
) -> int:
    """Write the decided rows of an export (`fvm_core.review.export.COLUMNS`) into a review; return how many were new.

    The log knows each row by its content, so a second import of the same table, or one that was cut off, adds nothing
    twice. An undo taken here after an import holds: importing again does not bring the decision back. `reviewer` is
    who imports; the table's own names are not taken over, for nothing vouches for them.

    Raises:
        ReviewError: columns are missing, or a row names an id, class or action that there is not. Nothing is written.
        StorageError: the disk refused; rows written before stay, and the same import goes on where it was.
    """
    missing = set(NEEDED) - set(frame)
    if missing:
        raise ReviewError(f"decisions must have the columns {list(NEEDED)}, but lack {sorted(missing)}. Export again.")
    if "dataset_fingerprint" in frame and set(frame["dataset_fingerprint"]) - {dataset.fingerprint, ""}:
        raise ReviewError("decisions must be of this dataset, but were made for another. Open the one reviewed.")
    places = {sample: place for place, sample in enumerate(dataset.ids.tolist())}
    rows: list[dict[Any, Any]] = frame[~frame["action"].isin(["", None]) & frame["action"].notna()].to_dict("records")
    entries = [_entry(row, places, dataset) for row in rows]
    return sum(
        log.append(session, entries[start : start + STEP], reviewer=reviewer) for start in range(0, len(entries), STEP)
    )


def _entry(row: dict[Any, Any], places: dict[str, int], dataset: LabeledImages) -> Entry:
    sample, action = row["id"], row["action"]
    if sample not in places:
        raise ReviewError(f"`id` must be a sample of this dataset, got {sample!r:.100}. Open the one reviewed.")
    given, label = int(dataset.labels[places[sample]]), int(row["label"])
    if action == "undo" or not 0 <= label < dataset.num_classes:
        raise ReviewError(f"decisions must keep or give a class below {dataset.num_classes}, got {action!r}, {label}.")
    suggested, score = row.get("suggested", -1), row.get("score")
    told = [sample, action, label, str(row.get("decided_at", "")), str(row.get("reviewer", ""))]
    mark = hashlib.sha256(repr(told).encode()).hexdigest()
    return Entry(
        client=f"import-{mark[:40]}",
        seq=1,
        sample=sample,
        action=action,
        label=label,
        given=given,
        suggested=int(suggested) if 0 <= suggested < dataset.num_classes else None,
        method=str(row.get("method", ""))[:64],
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        score_provenance=str(row.get("score_provenance", ""))[:64],
    )
