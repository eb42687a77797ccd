"""A job context without a job: for tests, notebooks and short runs inside one process."""

from __future__ import annotations

import io
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from fvm_core.jobs.paths import inside
from fvm_core.jobs.state import check_state


@dataclass
class MemoryContext:
    """Keep metrics, progress and state in memory; files go to `folder` (a temporary one if None).

    `stop_at` = n: the n-th call of `checkpoint()` (counted from 1) and all later ones ask the work to stop.
    Set it to None and call the work again with the same context to resume it.

    >>> context = MemoryContext(stop_at=2)
    >>> context.checkpoint(), context.checkpoint()
    (False, True)
    """

    folder: Path = field(default_factory=lambda: Path(tempfile.mkdtemp(prefix="fvm-job-")))
    stop_at: int | None = None
    metrics: list[dict[str, float]] = field(default_factory=list)
    messages: list[tuple[int, int, str]] = field(default_factory=list)
    calls: int = 0
    saves: int = 0
    state: bytes | None = None

    def metric(self, step: int, **values: float) -> None:
        """Append {"step": step, **values} to `metrics`."""
        self.metrics.append({"step": int(step)} | {key: float(value) for key, value in values.items()})

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Append (done, total, message) to `messages`."""
        self.messages.append((int(done), int(total), message))

    def checkpoint(self) -> bool:
        """Count the call; True from the `stop_at`-th call on."""
        self.calls += 1
        return self.stop_at is not None and self.calls >= self.stop_at

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep the state as the very bytes that a job on disk would write.

        Raises:
            TypeError: the state holds something that a safe load would refuse.
        """
        import torch

        check_state(state)
        buffer = io.BytesIO()
        torch.save(state, buffer)
        self.state = buffer.getvalue()
        self.saves += 1

    def load_state(self) -> dict[str, Any] | None:
        """Return the kept state read back with `weights_only=True`, or None."""
        import torch

        if self.state is None:
            return None
        return torch.load(io.BytesIO(self.state), map_location="cpu", weights_only=True)

    def path(self, *parts: str) -> Path:
        """Return a path inside `folder`; parent folders are made."""
        return inside(self.folder, *parts)
