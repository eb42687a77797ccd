"""File locks that the kernel frees when their holder dies, however it dies: the only truth about a running job."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

_held: set[int] = set()


def _forget_in_child() -> None:
    """A forked child (say, a data loader) must not keep the lock alive after its parent was killed."""
    for descriptor in _held:
        os.close(descriptor)
    _held.clear()


os.register_at_fork(after_in_child=_forget_in_child)


class FileLock:
    """An exclusive `flock` on one file. Freed by `release()` or by the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self.descriptor = descriptor
        self._open = True
        os.set_inheritable(descriptor, False)
        _held.add(descriptor)

    @classmethod
    def acquire(cls, path: Path, *, patience: float = 0.0) -> FileLock | None:
        """Return the lock, or None if another process holds it for longer than `patience` seconds.

        A reader that asks `is_locked` holds the file for an instant: give some patience where that could clash.
        """
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        until = time.monotonic() + patience
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return cls(descriptor)
            except BlockingIOError:
                if time.monotonic() >= until:
                    os.close(descriptor)
                    return None
                time.sleep(0.01)
            except BaseException:
                os.close(descriptor)
                raise

    @classmethod
    def adopt(cls, descriptor: int, path: Path) -> FileLock | None:
        """Return the lock that the parent process took on `path` and handed down as an open descriptor.

        None if the descriptor is not that file, or if the lock is not ours to have.
        """
        try:
            given, expected = os.fstat(descriptor), os.stat(path)
            if (given.st_dev, given.st_ino) != (expected.st_dev, expected.st_ino):
                return None
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            return None
        return cls(descriptor)

    @property
    def held(self) -> bool:
        """Whether this process still has its copy of the lock (a forked child has not)."""
        return self._open and self.descriptor in _held

    def let_go(self) -> None:
        """Close our copy only: the lock lives on in a child that inherited the descriptor."""
        if self.held:
            self._open = False
            _held.discard(self.descriptor)
            os.close(self.descriptor)

    def release(self) -> None:
        """Free the lock for everyone."""
        if self.held:
            fcntl.flock(self.descriptor, fcntl.LOCK_UN)
            self.let_go()


def is_locked(path: Path) -> bool:
    """Return whether a process holds the lock on `path` (False if there is no such file). Readers do not clash."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False
