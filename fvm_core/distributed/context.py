"""The context of a shared job: worker 0 speaks for all, a stop asked of one stops every one."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from fvm_core.distributed.workers import Workers
from fvm_core.errors import JobError
from fvm_core.jobs.context import JobContext
from fvm_core.jobs.paths import inside

HALT = "halt"
LISTEN = 0.2
"""Seconds between two looks at what the other workers say."""


class SharedContext:
    """See `JobContext`. `own` is the job's own context on worker 0, None on the others, which are silent: they report
    nothing, keep nothing and read files in `folder`, which all workers must see. `halt` set (a signal came): stop;
    worker 0's signals reach it through `own`."""

    def __init__(
        self, workers: Workers, folder: Path, *, own: JobContext | None, halt: threading.Event | None = None
    ) -> None:
        self.workers, self.folder = workers, folder
        self._own, self._halt = own, halt or threading.Event()
        self._listened, self._stop = float("-inf"), False

    def metric(self, step: int, **values: float) -> None:
        if self._own:
            self._own.metric(step, **values)

    def progress(self, done: int, total: int, message: str = "") -> None:
        if self._own:
            self._own.progress(done, total, message)

    def checkpoint(self) -> bool:
        """Return True soon after any worker was asked to stop; each worker calls it as often as it likes.

        Raises:
            JobError: another worker failed.
        """
        mine = self._halt.is_set() or (self._own is not None and self._own.checkpoint())
        if mine and not self._stop:
            self._say_halt()
        elif time.monotonic() - self._listened >= LISTEN:
            self._listen()
        return self._stop

    def save_state(self, state: dict[str, Any]) -> None:
        if self._own:
            self._own.save_state(state)

    def load_state(self) -> dict[str, Any] | None:
        """Return the kept state on worker 0, None on the others (see `meeting.hand_out`)."""
        return self._own.load_state() if self._own else None

    def path(self, *parts: str) -> Path:
        return inside(self.folder, *parts)

    def _say_halt(self) -> None:
        self._stop = True
        assert self.workers.store is not None
        try:
            self.workers.store.set(HALT, "1")
        except RuntimeError as error:
            raise self.workers.lost() from error

    def _listen(self) -> None:
        said = self.workers.failure()
        if said:
            raise JobError(said)
        assert self.workers.store is not None
        try:
            self._stop = self._stop or self.workers.store.check([HALT])
        except RuntimeError as error:
            raise self.workers.lost() from error
        self._listened = time.monotonic()
