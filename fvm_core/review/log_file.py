"""A whole log as a table, out of one workspace and into another: with every name, time and undo, once."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.spreadsheet import GUARD, csv_text, unguarded
from fvm_core.data.tables import read_table, strings, table_columns
from fvm_core.errors import ReviewError
from fvm_core.files import atomic_write
from fvm_core.review.decision import Decision, Entry, Record
from fvm_core.review.log import DecisionLog
from fvm_core.review.session import ReviewSession, person

TEXTS = (
    "client", "sample", "action", "run", "method", "score_provenance", "role", "reviewer", "decided_at",
    "takes_back_client", "review", "dataset_fingerprint",
)  # fmt: skip
NUMBERS = ("seq", "label", "given", "suggested", "score", "takes_back_seq")
COLUMNS = (*TEXTS, *NUMBERS)
_STEP = 2000


@dataclass(frozen=True)
class Imported:
    """`new` rows were written, `known` were in the log already; `reviewers` are the names in the file, `samples` the
    images it decides."""

    new: int
    known: int
    reviewers: tuple[str, ...]
    samples: tuple[str, ...]


def log_table(log: DecisionLog, session: ReviewSession) -> pd.DataFrame:
    """Return every decision and undo of a review, oldest first, in COLUMNS (-1 for no label, suggestion or number)."""
    decisions = log.read(session.id)
    address = {decision.number: (decision.client, decision.seq) for decision in decisions}
    rows = [_row(decision, address, session) for decision in decisions]
    return pd.DataFrame(rows, columns=list(COLUMNS))


def _row(decision: Decision, address: Mapping[int, tuple[str, int]], session: ReviewSession) -> dict[str, Any]:
    client, seq = address.get(decision.undoes, ("", -1)) if decision.undoes is not None else ("", -1)
    row = {name: getattr(decision, name) for name in COLUMNS if name in Decision.__dataclass_fields__}
    for name in ("label", "suggested"):
        row[name] = -1 if row[name] is None else row[name]
    return row | {
        "takes_back_client": client,
        "takes_back_seq": seq,
        "review": session.name,
        "dataset_fingerprint": session.fingerprint,
    }


def write_log(path: Path, frame: pd.DataFrame) -> None:
    """Write `log_table` as CSV or Parquet, by the ending of `path`. Raises StorageError."""
    if path.suffix == ".parquet":
        with atomic_write(path) as file:
            pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), file)
        return
    with atomic_write(path, "w", encoding="utf-8", newline="") as file:
        file.write(csv_text(frame))


def read_log(path: Path | str) -> pd.DataFrame:
    """Return the table that `write_log` wrote. Raises DataError, or ReviewError where it is no log."""
    columns = table_columns(path)
    missing = set(COLUMNS) - set(columns)
    if missing:
        raise ReviewError(f"`{path}` must be a log of decisions, but lacks {sorted(missing)}. Export the log again.")
    wanted = [*COLUMNS, *(name for name in (GUARD,) if name in columns)]
    table = read_table(path, wanted, text=[*TEXTS, GUARD])
    marks = strings(table[GUARD], GUARD) if GUARD in table.column_names else None
    frame = table.select(list(NUMBERS)).to_pandas()
    for name in TEXTS:
        frame[name] = unguarded(strings(table[name], name), marks, path=str(path)).to_pylist()
    return frame[list(COLUMNS)]


def is_log(path: Path | str) -> bool:
    """Return whether a table is a log, and not the exported labels of a review. Raises DataError when it is none."""
    return set(COLUMNS) <= set(table_columns(path))


def import_log(log: DecisionLog, session: ReviewSession, frame: pd.DataFrame, dataset: LabeledImages) -> Imported:
    """Write a log of the same dataset into a review; a second time, or after being cut off, it adds what is missing.

    Each row keeps its (client, seq), its reviewer and its time, and an undo what it takes back. In the order of the
    log the import comes last: where people worked in the open its decisions are the latest, so mark the images blind
    (`fvm_core.review.assign`) to have differences adjudicated instead.

    Raises:
        ReviewError: a log of another dataset, ids or classes that it does not have, a damaged row, or a (client, seq)
            that stands for something else here. Nothing is written.
        StorageError: what was written stays, and the same import goes on from there.
    """
    fingerprints = set(frame["dataset_fingerprint"])
    if fingerprints - {session.fingerprint}:
        raise ReviewError(
            f"the log must be of this dataset ({session.fingerprint[:12]}), but is of "
            f"{sorted(str(one)[:12] for one in fingerprints)}. Open the dataset that was reviewed."
        )
    known = {(decision.client, decision.seq): decision for decision in log.read(session.id)}
    ids = set(dataset.ids.tolist())
    records = [
        record
        for row in frame.to_dict("records")
        if (record := _record(row, ids, dataset.num_classes)) is not None and not _same(known, record)
    ]
    new = sum(log.add(session.id, part) for part in _parts(records))
    return Imported(new, len(frame) - new, tuple(sorted(set(frame["reviewer"]))), tuple(dict.fromkeys(frame["sample"])))


def _parts(records: list[Record]) -> Iterable[list[Record]]:
    yield from (records[start : start + _STEP] for start in range(0, len(records), _STEP))


def _record(row: Mapping[Any, Any], ids: set[str], classes: int) -> Record | None:
    """Return the record of a row, None for an undo that took nothing back."""
    if row["sample"] not in ids:
        raise ReviewError(f"`sample` must be an image of this dataset, got {row['sample']!r:.100}.")
    try:
        label, given, suggested, seq, back = (
            int(row[name]) for name in ("label", "given", "suggested", "seq", "takes_back_seq")
        )
        when = datetime.fromisoformat(row["decided_at"])
    except (TypeError, ValueError) as error:
        raise ReviewError(f"the log has a damaged row on {row['sample']!r:.100} ({error}). Export it again.") from error
    if when.tzinfo is None:
        raise ReviewError(f"`decided_at` must have a time zone, got {row['decided_at']!r:.40}. Export the log again.")
    undo = row["action"] == "undo"
    for name, value, least in (("label", label, -1 if undo else 0), ("given", given, 0), ("suggested", suggested, -1)):
        if not least <= value < classes:
            raise ReviewError(f"`{name}` must be a class in [0, {classes}), got {value} on {row['sample']!r:.100}.")
    if undo and not row["takes_back_client"]:
        return None
    entry = Entry(
        client=row["client"],
        seq=seq,
        sample=row["sample"],
        action=row["action"],
        label=None if undo else label,
        given=given,
        suggested=None if suggested < 0 else suggested,
        run=row["run"],
        method=row["method"],
        score=None if pd.isna(row["score"]) else float(row["score"]),
        score_provenance=row["score_provenance"],
        role=row["role"],
    )
    return Record(entry, person(row["reviewer"]), row["decided_at"], (row["takes_back_client"], back) if undo else None)


def _same(known: Mapping[tuple[str, int], Decision], record: Record) -> bool:
    """Return whether the record is in the log already. Raises ReviewError where another stands under its number."""
    entry = record.entry
    there = known.get((entry.client, entry.seq))
    if there is None:
        return False
    told = (entry.sample, entry.action, entry.label, record.reviewer)
    if told != (there.sample, there.action, there.label, there.reviewer):
        raise ReviewError(
            f"decision {entry.seq} of {entry.client!r} must be the same here and in the file, but differs "
            f"({entry.sample!r:.80}). The file was changed: export the log again."
        )
    return True
