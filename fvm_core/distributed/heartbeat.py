"""A sign of life of every worker, so that a lost one is told from one that is busy or paused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

from fvm_core.distributed.workers import Workers

EVERY = 2.0
"""Seconds between two beats."""


def key(rank: int) -> str:
    """Return where the beats of a worker are counted."""
    return f"beat/{rank}"


@contextmanager
def beating(workers: Workers) -> Iterator[None]:
    """Count up this worker's beats from a thread of its own while the block runs; a store that is gone ends it."""
    ended, store = threading.Event(), workers.store
    assert store is not None, "one worker alone has nobody to tell"

    def beat() -> None:
        with suppress(RuntimeError):
            while not ended.is_set():
                store.add(key(workers.rank), 1)
                ended.wait(min(EVERY, workers.timeout / 4))

    thread = threading.Thread(target=beat, name="heartbeat", daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join()
