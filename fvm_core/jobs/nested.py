"""A job made of parts: each part has a folder, metrics and a state of its own, the whole has one progress bar."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fvm_core.jobs.context import JobContext
from fvm_core.jobs.metrics import MetricsWriter
from fvm_core.jobs.paths import inside
from fvm_core.jobs.state import read_state, write_state


class NestedContext:
    """One part of a larger job, itself a JobContext.

    Progress of the part is mapped onto [start, end] out of `scale` units of the parent; preparation (messages that
    start with "Decoding") counts from 0 to its own end and leaves the parent's bar where it is. State and metrics
    stay in the part's folder, so that a part that was cut resumes: `folder`, which must exist, or one in the parent's.
    """

    def __init__(
        self, parent: JobContext, *, name: str, start: int, end: int, scale: int, folder: Path | None = None
    ) -> None:
        self.parent, self.name = parent, name
        self.start, self.end, self.scale = start, end, scale
        self.folder: Path = folder or parent.path("parts", name, "metrics.jsonl").parent
        self._units = 1000 * start
        self._metrics = MetricsWriter(self.folder / "metrics.jsonl")

    def metric(self, step: int, **values: float) -> None:
        self._metrics.write(step, values)

    def progress(self, done: int, total: int, message: str = "") -> None:
        if not message.startswith("Decoding"):
            self._units = 1000 * self.start + round(1000 * (self.end - self.start) * done / max(total, 1))
        self.parent.progress(self._units, 1000 * self.scale, f"{self.name}: {message}" if message else self.name)

    def checkpoint(self) -> bool:
        return self.parent.checkpoint()

    def save_state(self, state: dict[str, Any]) -> None:
        write_state(self.folder / "state.pt", state)

    def load_state(self) -> dict[str, Any] | None:
        return read_state(self.folder / "state.pt")

    def path(self, *parts: str) -> Path:
        return inside(self.folder, *parts)

    def close(self) -> None:
        self._metrics.close()
