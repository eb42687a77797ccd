"""Part files of a running score job, so that a kill loses at most one part; merged at the end in bounded memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
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

    @property
    def start(self) -> int:
        """The first of its rows, as its name says."""
        return int(self.path.stem.partition("-")[0])

    @property
    def stop(self) -> int:
        """The row after its last one."""
        return self.start + self.rows


def part_path(folder: Path, method: str, start: int) -> Path:
    """Return folder/METHOD/START.parquet."""
    return folder / method / f"{start:010d}.parquet"


def find_parts(folder: Path, method: str, *, plan: str) -> list[Part]:
    """Return the finished parts of a method by their rows, none of which stands in two of them.

    A part that `fold` was killed over, before it removed what it had put together, comes first and hides those.
    """
    paths = (folder / method).glob("[0-9]*.parquet")
    found = [part for path in paths if (part := read_part(path, plan=plan)) is not None]
    kept: list[Part] = []
    for part in sorted(found, key=lambda part: (part.start, -part.rows)):
        if not kept or part.start >= kept[-1].stop:
            kept.append(part)
    return kept


def fold(parts: list[Part], schema: pa.Schema, *, plan: str) -> None:
    """Put `parts` together to one, FIRST-LAST.parquet, and remove them; nothing where one does not begin at the end of
    the one before, or there is but one."""
    if len(parts) < 2 or any(one.stop != two.start for one, two in pairwise(parts)):
        return
    notes = list(dict.fromkeys(note for part in parts for note in part.notes))
    text = json.dumps({"plan": plan, "seconds": sum(part.seconds for part in parts), "notes": notes})
    path = parts[0].path.with_name(f"{parts[0].start:010d}-{parts[-1].stop - 1:010d}.parquet")
    merge(parts, path, schema.with_metadata({KEY: text.encode()}))
    for part in parts:
        if part.path != path:
            part.path.unlink(missing_ok=True)


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
