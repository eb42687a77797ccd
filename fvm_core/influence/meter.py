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
        self._told = 0.0

    def advance(self, units: float, message: str) -> None:
        """Report `units` more. Raises JobStopped when the person asked to stop (whole parts are on disk)."""
        begin = time.perf_counter()
        self.done = min(self.total, self.done + units)
        self.context.progress(round(self.done), round(self.total), message)
        if self.context.checkpoint():
            raise JobStopped
        self._told += time.perf_counter() - begin

    @contextmanager
    def clock(self) -> Iterator[None]:
        """Add the time of the block to `seconds`, less the time spent in `advance` (a pause, for one)."""
        begin, told = time.perf_counter(), self._told
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - begin - (self._told - told)
