"""metrics.jsonl: one JSON object a line, appended while the job runs, read while it grows."""

from __future__ import annotations

import json
import math
import os
import threading
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fvm_core.errors import StorageError
from fvm_core.jobs.folder import open_folder
from fvm_core.jobs.paths import inside
from fvm_core.workspace import Workspace

if TYPE_CHECKING:
    import pandas as pd


class MetricsWriter:
    """Appends rows; a torn last line that a kill left behind is removed (or completed) when the file is opened."""

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            repair(path)
            self._file = open(path, "ab", buffering=0)  # noqa: SIM115  (held for the job's life)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error

    def write(self, step: int, values: dict[str, float]) -> None:
        """Append one row; NaN and infinite values are kept as null.

        Raises:
            StorageError: the disk refused.
        """
        row: dict[str, float | int | None] = {"step": int(step)}
        for key, value in values.items():
            number = float(value)
            row[key] = number if math.isfinite(number) else None
        line = json.dumps(row).encode() + b"\n"
        try:
            written = self._file.write(line)
        except OSError as error:
            raise self._refused(error.strerror or str(error)) from error
        if written != len(line):
            raise self._refused("only a part of the line fitted")

    def close(self) -> None:
        self._file.close()

    def _refused(self, reason: str) -> StorageError:
        return StorageError(
            f"`{self.path}` could not be written ({reason}); what was measured before is kept. "
            "Free disk space, then resume the job."
        )


def repair(path: Path) -> None:
    """Make the file end with a whole line: complete a last row that only lacks its newline, cut off a torn one."""
    if not path.is_file() or path.stat().st_size == 0:
        return
    with open(path, "r+b") as file:
        end = file.seek(0, os.SEEK_END)
        start = max(0, end - 65536)
        file.seek(start)
        tail = file.read()
        if tail.endswith(b"\n"):
            return
        cut = tail.rfind(b"\n") + 1
        if _parse(tail[cut:]) is not None:
            file.seek(0, os.SEEK_END)
            file.write(b"\n")
        else:
            file.truncate(start + cut)


class MetricsTail:
    """Reads what was appended since the last look, so that a live page does not parse the whole file every second."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._guard = threading.Lock()
        self._forget()

    def _forget(self) -> None:
        self._inode, self._offset = -1, 0
        self._rows: dict[int, int] = {}
        self._columns: dict[str, list[float]] = {}
        self._frame: pd.DataFrame | None = None

    def frame(self) -> pd.DataFrame:
        """Return one row a step, sorted, with the integer column `step` first and the rest float64 (NaN = not given).

        Of several rows of one step the last value of each key counts. Lines that are not whole rows are left out.
        """
        with self._guard:
            for row in self._news():
                self._add(row)
            if self._frame is None:
                self._frame = self._build()
            return self._frame.copy()

    def _news(self) -> list[dict[str, Any]]:
        try:
            with open(self.path, "rb") as file:
                stat = os.fstat(file.fileno())
                if stat.st_ino != self._inode or stat.st_size < self._offset:
                    self._forget()
                    self._inode = stat.st_ino
                file.seek(self._offset)
                data = file.read()
        except FileNotFoundError:
            self._forget()
            return []
        data = data[: data.rfind(b"\n") + 1]
        self._offset += len(data)
        lines = data.split(b"\n")[:-1]
        try:
            rows = json.loads(b"[" + b",".join(lines) + b"]")
        except ValueError:
            rows = []
        if len(rows) != len(lines):
            rows = [_parse(line) for line in lines]
        return [row for row in rows if _is_row(row)]

    def _add(self, row: dict[str, Any]) -> None:
        place = self._rows.setdefault(row["step"], len(self._rows))
        for key, value in row.items():
            if key == "step":
                continue
            column = self._columns.setdefault(key, [])
            if len(column) <= place:
                column.extend([math.nan] * (place + 1 - len(column)))
            column[place] = math.nan if value is None else value
        self._frame = None

    def _build(self) -> pd.DataFrame:
        import numpy as np
        import pandas as pd

        steps = np.fromiter(self._rows, dtype=np.int64, count=len(self._rows))
        order = np.argsort(steps, kind="stable")
        values: dict[str, Any] = {"step": steps[order]}
        for key, column in self._columns.items():
            full = np.full(len(steps), np.nan)
            full[: len(column)] = column
            values[key] = full[order]
        return pd.DataFrame(values)


@lru_cache(maxsize=32)
def _tail(path: Path) -> MetricsTail:
    return MetricsTail(path)


def read_metrics(workspace: Workspace, job_id: str, *, part: str = "") -> pd.DataFrame:
    """Return a job's metrics, one row a step; see `MetricsTail.frame`. Empty with a `step` column before the first row.

    `part` names a part of a job made of parts (demo, pipeline), say "tune-fvm". A second look in the same process reads
    only what was appended since.

    Raises:
        JobError: no such job.
    """
    folder = open_folder(workspace, job_id)
    return _tail(inside(folder.root, "parts", part, "metrics.jsonl") if part else folder.metrics).frame()


def _parse(line: bytes) -> dict[str, Any] | None:
    try:
        row = json.loads(line)
    except ValueError:
        return None
    return row if _is_row(row) else None


def _is_row(row: Any) -> bool:
    return (
        isinstance(row, dict)
        and type(row.get("step")) is int
        and all(value is None or type(value) in (int, float) for value in row.values())
    )
