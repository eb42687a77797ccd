"""Heavy jobs take turns: a few slots for the whole workspace, given out in the order of asking."""

from __future__ import annotations

import os
import time
from pathlib import Path

from fvm_core.errors import SettingsError
from fvm_core.jobs.lock import FileLock, is_locked
from fvm_core.workspace import Workspace


def max_running() -> int:
    """Return how many heavy jobs may run at once: `FVM_STUDIO_MAX_JOBS`, or 1.

    Raises:
        SettingsError: not a whole number from 1 on.
    """
    text = os.environ.get("FVM_STUDIO_MAX_JOBS") or "1"
    if not text.isdecimal() or int(text) < 1:
        raise SettingsError(f"`FVM_STUDIO_MAX_JOBS` must be a whole number >= 1, got {text!r}. Unset it for 1.")
    return int(text)


class Slot:
    """One worker's place in the queue, then its slot. Both are locks: a killed worker frees them at once."""

    def __init__(self, workspace: Workspace, *, count: int) -> None:
        self.folder = workspace.jobs / ".slots"
        self.count = count
        self._ticket: tuple[Path, FileLock] | None = None
        self._slot: FileLock | None = None

    def try_acquire(self) -> bool:
        """Queue up if not yet done; return whether we hold a slot now. Call it again until it does."""
        if self._slot:
            return True
        if self._ticket is None:
            self._ticket = self._draw()
        if not self._first():
            return False
        for number in range(self.count):
            self._slot = FileLock.acquire(self.folder / f"slot-{number}")
            if self._slot:
                self._drop_ticket()
                return True
        return False

    def leave(self) -> None:
        """Give back the slot, or the place in the queue."""
        self._drop_ticket()
        if self._slot:
            self._slot.release()
            self._slot = None

    def _draw(self) -> tuple[Path, FileLock]:
        self.folder.mkdir(parents=True, exist_ok=True)
        hidden = self.folder / f".{os.getpid()}-{time.time_ns()}"
        lock = FileLock.acquire(hidden)
        assert lock is not None, "the name is ours alone"
        ticket = self.folder / f"ticket-{time.time_ns():020d}-{os.getpid()}"
        os.rename(hidden, ticket)
        return ticket, lock

    def _first(self) -> bool:
        assert self._ticket is not None
        for other in sorted(self.folder.glob("ticket-*")):
            if other == self._ticket[0]:
                return True
            if is_locked(other):
                return False
            other.unlink(missing_ok=True)
        return True

    def _drop_ticket(self) -> None:
        if self._ticket:
            path, lock = self._ticket
            path.unlink(missing_ok=True)
            lock.release()
            self._ticket = None
