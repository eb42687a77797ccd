"""The context of a real job: what the work says goes to the job's folder, what the person wants comes from there."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.folder import JobFolder
from fvm_core.jobs.metrics import MetricsWriter
from fvm_core.jobs.paths import inside
from fvm_core.jobs.rate import RateMeter
from fvm_core.jobs.slots import Slot
from fvm_core.jobs.state import read_state, write_state
from fvm_core.jobs.status import StatusWriter, read_request

POLL = 0.2
QUEUED = "waiting for another job to end"


class DiskContext:
    """See `JobContext`. `slot` None: a light job, which never waits. `halt` set (a signal came): the same as a stop."""

    def __init__(self, job: JobFolder, writer: StatusWriter, *, slot: Slot | None, halt: threading.Event) -> None:
        self.folder: Path = job.root
        self._job = job
        self._writer = writer
        self._slot = slot
        self._halt = halt
        self._metrics = MetricsWriter(job.metrics)
        self._rate = RateMeter()

    def begin(self) -> None:
        """Wait for a slot, then say that the job runs.

        Raises:
            JobStopped: the person stopped it while it waited.
        """
        if self._settle():
            raise JobStopped

    def close(self) -> None:
        """Give back the slot and close the files."""
        if self._slot:
            self._slot.leave()
        self._metrics.close()

    def metric(self, step: int, **values: float) -> None:
        """Append one row to metrics.jsonl.

        Raises:
            StorageError: the disk refused.
        """
        self._metrics.write(step, values)

    def progress(self, done: int, total: int, message: str = "") -> None:
        """Say how far the work is; written at most once a second.

        Raises:
            StorageError: the disk refused.
        """
        self._rate.update(int(done), now=time.monotonic())
        left = self._rate.seconds_left(int(done), int(total))
        self._writer.update(now=False, done=int(done), total=int(total), message=message, seconds_left=left)

    def checkpoint(self) -> bool:
        """Wait while paused; return True when the work has to save its state and raise JobStopped."""
        if self._request() == "run":
            return False
        return self._settle()

    def save_state(self, state: dict[str, Any]) -> None:
        """Keep `state` in state.pt, whole or not at all.

        Raises:
            StorageError: the disk refused; the earlier state is untouched.
            TypeError: it holds more than tensors, numbers, strings, and lists, tuples, dicts of them.
        """
        write_state(self._job.state, state)

    def load_state(self) -> dict[str, Any] | None:
        """Return the last kept state (tensors on the CPU), or None.

        Raises:
            JobError: the file is damaged.
        """
        return read_state(self._job.state)

    def path(self, *parts: str) -> Path:
        """Return a path inside the job's folder; parent folders are made.

        Raises:
            JobError: the path would leave the folder.
        """
        return inside(self.folder, *parts)

    def _request(self) -> str:
        return "stop" if self._halt.is_set() else read_request(self._job)

    def _settle(self) -> bool:
        """Wait while the person pauses the job or others hold the slots; return whether to stop."""
        message = self._writer.status.message
        while (request := self._request()) != "stop":
            if request == "pause":
                if self._slot:
                    self._slot.leave()
                self._say("paused", message)
            elif self._slot and not self._slot.try_acquire():
                self._say("queued", QUEUED)
            else:
                self._say("running", "" if message == QUEUED else message)
                return False
            time.sleep(POLL)
        return True

    def _say(self, state: str, message: str) -> None:
        status = self._writer.status
        if state != "running":
            self._rate.pause()
        if status.state != state or status.message != message:
            started = (status.started or time.time()) if state == "running" else status.started
            self._writer.update(now=True, state=state, message=message, started=started)
