"""Progress of scoring in one unit (a forward and backward pass of one sample), and a clock that leaves pauses out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager

from fvm_core.jobs.context import JobContext, JobStopped


class Meter:
    """Counts work against a total, tells the job's context, and obeys pause and stop between batches."""

    def __init__(self, context: JobContext, total: float) -> None:
        self.context, self.total, self.done = context, max(total, 1.0), 0.0
        self.seconds = 0.0

    def advance(self, units: float, message: str) -> None:
        """Report `units` more. Raises JobStopped when the person asked to stop (whole parts are on disk)."""
        self.done = min(self.total, self.done + units)
        self.context.progress(round(self.done), round(self.total), message)
        if self.context.checkpoint():
            raise JobStopped

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Add the time of the block to `seconds`."""
        begin = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begin
