"""Decisions out of a table, written into a review's log: once, however often it is done."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import pandas as pd

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import ReviewError
from fvm_core.review.decision import Entry
from fvm_core.review.log import DecisionLog

NEEDED = ("id", "label", "action")
STEP = 2000


@dataclass(frozen=True)
class Refused:
    """A row that was not taken: its id as the file has it, and why."""

    sample: str
    why: str


@dataclass(frozen=True)
class Taken:
    """What came of an import: rows written, rows that the review knew, rows refused. `overruled` counts the images
    among the new ones that a decision before had given another label."""

    new: int
    known: int
    refused: tuple[Refused, ...]
    overruled: int = 0

    @property
    def words(self) -> str:
        """Return the counts in words."""
        overruled = f" ({self.overruled:,} on images that had another label here)" if self.overruled else ""
        return f"{self.new:,} new{overruled}, {self.known:,} known already, {len(self.refused):,} refused"


def import_decisions(
    log: DecisionLog, session: str, frame: pd.DataFrame, dataset: LabeledImages, *, reviewer: str
) -> Taken:
    """Write the decided rows of a table (`fvm_core.review.export.COLUMNS`; NEEDED are enough) into a review.

    The log knows each row by its content, so a second import of the same table, or one that was cut off, adds nothing
    twice; a decision that came out of this very review is known too. An undo taken here after an import holds:
    importing again does not bring the decision back. `reviewer` is who imports; the table's own names are not taken
    over, for nothing vouches for them. A row that cannot be right is refused and does not hold up the others; rows
    without an action are no decisions.

    Raises:
        ReviewError: columns are missing, or the table was made for another dataset. Nothing is written.
        StorageError: the disk refused; rows written before stay, and the same import goes on where it was.
    """
    missing = set(NEEDED) - set(frame)
    if missing:
        raise ReviewError(f"decisions must have the columns {list(NEEDED)}, but lack {sorted(missing)}. Export again.")
    if "dataset_fingerprint" in frame and set(frame["dataset_fingerprint"].dropna()) - {dataset.fingerprint, ""}:
        raise ReviewError("decisions must be of this dataset, but were made for another. Open the one reviewed.")
    decided = frame[frame["action"].notna() & (frame["action"] != "")]
    rows: list[dict[Any, Any]] = decided.to_dict("records")
    places = {sample: place for place, sample in enumerate(dataset.ids.tolist())}
    here = {(d.sample, d.action, d.label, d.reviewer, d.decided_at) for d in log.read(session)}
    before = {sample: decision.label for sample, decision in log.replay(session).states().items()}
    entries: list[Entry] = []
    refused: list[Refused] = []
    known = 0
    for row in rows:
        try:
            entry = _entry(row, places, dataset)
        except (ReviewError, TypeError, ValueError, OverflowError) as error:
            refused.append(Refused(str(row["id"])[:200], str(error)))
            continue
        if (entry.sample, entry.action, entry.label, row.get("reviewer"), row.get("decided_at")) in here:
            known += 1
        else:
            entries.append(entry)
    acked = log.acked(session, [entry.client for entry in entries])
    fresh = [entry for entry in entries if not acked[entry.client]]
    new = sum(
        log.append(session, fresh[start : start + STEP], reviewer=reviewer) for start in range(0, len(fresh), STEP)
    )
    overruled = sum(before.get(entry.sample, entry.label) != entry.label for entry in fresh)
    return Taken(new, known + len(entries) - new, tuple(refused), overruled)


def _entry(row: dict[Any, Any], places: dict[str, int], dataset: LabeledImages) -> Entry:
    sample, action = row["id"], row["action"]
    if sample not in places:
        raise ReviewError("`id` must be a sample of this dataset. Open the one reviewed.")
    given = int(dataset.labels[places[sample]])
    try:
        label = int(row["label"])
    except (TypeError, ValueError):
        label = -1
    if action == "undo" or not 0 <= label < dataset.num_classes:
        raise ReviewError(
            f"`label` must be a class in [0, {dataset.num_classes}) that is kept or given, got {action!r:.40} with "
            f"{row['label']!r:.40}."
        )
    if action in ("keep", "skip") and label != given:
        raise ReviewError(f"`label` must be the given one ({given}) to {action} it, got {label}.")
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
        suggested=int(suggested) if _is_class(suggested, dataset.num_classes) else None,
        method=str(row.get("method", ""))[:64],
        score=float(score) if isinstance(score, int | float) and math.isfinite(score) else None,
        score_provenance=str(row.get("score_provenance", ""))[:64],
    )


def _is_class(value: Any, classes: int) -> bool:
    return isinstance(value, int | float) and 0 <= value < classes
