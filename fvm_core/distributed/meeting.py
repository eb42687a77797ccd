"""Waiting for other workers: however long their work takes, but not for one that is lost. One alone never waits."""

from __future__ import annotations

import io
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
import torch.distributed as dist

from fvm_core.distributed.heartbeat import key as beat_key
from fvm_core.distributed.workers import device_of_collectives, workers_of
from fvm_core.errors import JobError
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.jobs.state import check_state

SHORTEST, LONGEST = 1e-4, 0.05
"""Seconds between two looks for a word: rarer the longer it takes, so that a step of tuning hardly waits."""


def say(context: JobContext, key: str, word: str = "") -> None:
    """Leave `word` under `key` for the others; each key is said once."""
    workers = workers_of(context)
    if workers.store is not None:
        try:
            workers.store.set(f"said/{key}", word)
        except RuntimeError as error:
            raise workers.lost() from error


def wait(context: JobContext, key: str, *, of: int = 0, obey: bool = True) -> str:
    """Return what worker `of` says under `key`. With `obey` False it is up to that worker whether all stop.

    Raises:
        JobStopped: the job was asked to stop.
        JobError: a worker failed, or worker `of` gave no sign of life for the timeout.
    """
    workers = workers_of(context)
    store = workers.store
    assert store is not None, "one worker alone has nobody to wait for"
    beats, since, pause = -1, time.monotonic(), SHORTEST
    while True:
        try:
            if store.check([f"said/{key}"]):
                return store.get(f"said/{key}").decode()
            found = store.add(beat_key(of), 0)
        except RuntimeError as error:
            raise workers.lost(f"worker {of}") from error
        if context.checkpoint() and obey:
            raise JobStopped
        if found != beats:
            beats, since = found, time.monotonic()
        elif time.monotonic() - since > workers.timeout:
            raise workers.lost(f"worker {of}")
        time.sleep(pause)
        pause = min(1.5 * pause, LONGEST)


def meet(context: JobContext, key: str) -> None:
    """Return when all workers have come here with `key`, so that a collective after it does not wait: all or none.

    Raises:
        JobStopped, JobError: see `wait`.
    """
    workers = workers_of(context)
    if workers.size == 1:
        return
    if workers.leads:
        try:
            for rank in range(1, workers.size):
                wait(context, f"{key}/{rank}", of=rank)
        except JobStopped:
            say(context, f"{key}/all", "stop")
            raise
        say(context, f"{key}/all", "go")
    else:
        say(context, f"{key}/{workers.rank}")
        if wait(context, f"{key}/all", obey=False) == "stop":
            raise JobStopped


@contextmanager
def first(context: JobContext, key: str) -> Iterator[None]:
    """Let worker 0 do the block alone; the others do it once worker 0 is through (and find its files there)."""
    workers = workers_of(context)
    if not workers.leads:
        wait(context, key)
    yield
    if workers.leads:
        say(context, key)


def agree(context: JobContext, key: str, word: str, *, what: str) -> None:
    """Check that every worker has the same `word`.

    Raises:
        JobError: this worker's differs from worker 0's.
    """
    workers = workers_of(context)
    if workers.leads:
        say(context, key, word)
    elif wait(context, key) != word:
        raise JobError(
            f"worker {workers.rank} has other {what} than worker 0. Give all workers the same workspace, the same data "
            "and the same version of FVM Studio."
        )


def hand_out(context: JobContext, key: str, value: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return worker 0's `value` (what a job's state may hold, tensors on the CPU) on every worker.

    It travels as the bytes of a state file, read with `weights_only=True`.
    """
    workers = workers_of(context)
    if workers.size == 1:
        return value
    if workers.leads:
        check_state(value)
        buffer = io.BytesIO()
        torch.save(value, buffer)
        data = torch.frombuffer(bytearray(buffer.getvalue()), dtype=torch.uint8)
        say(context, f"{key}/bytes", str(len(data)))
    else:
        data = torch.empty(int(wait(context, f"{key}/bytes")), dtype=torch.uint8)
    meet(context, key)
    data = data.to(device_of_collectives())
    with workers.guarded():
        dist.broadcast(data, src=0)
    if workers.leads:
        return value
    found: dict[str, Any] | None = torch.load(
        io.BytesIO(data.cpu().numpy().tobytes()), map_location="cpu", weights_only=True
    )
    return found
