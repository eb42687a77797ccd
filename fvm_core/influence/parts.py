"""Part files of a running score job, so that a kill loses at most one part; merged at the end in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.files import atomic_write

KEY = b"fvm_part"
GROUP_ROWS = 8192


@dataclass(frozen=True)
class Part:
    """A finished part: its file, its rows, the seconds it took, and what was noted with it."""

    path: Path
    rows: int
    seconds: float
    notes: tuple[str, ...] = ()


def part_path(folder: Path, method: str, start: int) -> Path:
    """Return folder/METHOD/START.parquet."""
    return folder / method / f"{start:010d}.parquet"


def write_part(path: Path, table: pa.Table, *, plan: str, seconds: float, notes: Sequence[str] = ()) -> None:
    """Write a part whole or not at all. `plan` is the digest of everything that decides its content."""
    note = json.dumps({"plan": plan, "seconds": seconds, "notes": list(notes)}).encode()
    with atomic_write(path) as file:
        pq.write_table(table.replace_schema_metadata({KEY: note}), file)


def read_part(path: Path, *, plan: str) -> Part | None:
    """Return a finished part of this plan, or None where it is missing, damaged or of another plan."""
    try:
        metadata = pq.read_metadata(path)
        note: dict[str, Any] = json.loads(metadata.metadata[KEY])
    except (OSError, ValueError, KeyError, TypeError, pa.ArrowException):
        return None
    if note.get("plan") != plan:
        return None
    return Part(path, metadata.num_rows, float(note["seconds"]), tuple(note["notes"]))


def merge(
    parts: list[Part], target: Path, schema: pa.Schema, *, change: Callable[[pa.Table], pa.Table] = lambda table: table
) -> None:
    """Write all parts, in order, as one file under `schema` (with its metadata), atomically.

    No more than GROUP_ROWS rows and one part are in memory. `change` is applied to each group of rows.
    """
    with atomic_write(target) as file, pq.ParquetWriter(file, schema) as writer:
        for group in _groups(parts):
            writer.write_table(change(group).cast(schema).replace_schema_metadata(schema.metadata))


def _groups(parts: list[Part]) -> Iterator[pa.Table]:
    waiting: list[pa.Table] = []
    for part in parts:
        waiting.append(pq.read_table(part.path).replace_schema_metadata(None))
        if sum(table.num_rows for table in waiting) >= GROUP_ROWS:
            yield pa.concat_tables(waiting)
            waiting = []
    if waiting:
        yield pa.concat_tables(waiting)
