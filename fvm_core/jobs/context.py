"""What long work may do to the outside: report, save its state, keep files, ask whether to go on."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol


class JobStopped(Exception):
    """Raised by `checkpoint()` when the person asked to stop; the state was saved before. Not an error."""


class JobContext(Protocol):
    """Handed to every long function (training, tuning, scoring). `fvm_core.jobs` has the one on disk; tests use
    `MemoryContext`."""

    folder: Path

    def metric(self, step: int, **values: float) -> None:
        """Append one row to metrics.jsonl (readers deduplicate by step, the last row of a step wins per key)."""
        ...

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Say how far the work is; the time left is derived from it. Writes status.json at most once a second.

        `done` and `total` may be in any unit and are shown as a share only: a count of things is told in `message`.
        """
        ...

    def checkpoint(self) -> bool:
        """Obey the control file: wait while paused. Returns True when the work has to save its state and stop
        (the caller saves, then raises JobStopped)."""
        ...

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep a resumable state (tensors, numbers, strings; torch.save + weights_only load), atomically."""
        ...

    def load_state(self) -> dict[str, Any] | None:
        """Return the last kept state, or None on a first run."""
        ...

    def path(self, *parts: str) -> Path:
        """Return a path inside the job's folder; parent folders are made."""
        ...
