"""A training loop in which all workers do the same steps: resumed from one state, stopped before the same step."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fvm_core.distributed.meeting import hand_out, say, wait
from fvm_core.distributed.workers import workers_of
from fvm_core.jobs.context import JobContext


class Lockstep:
    """The context of such a loop; its `checkpoint` is called once a step by every worker.

    Worker 0 decides and the others wait for its word, also while it is paused. A key of the store a step.
    """

    def __init__(self, context: JobContext) -> None:
        self._context, self._steps = context, 0
        self.workers, self.folder = workers_of(context), context.folder

    def metric(self, step: int, **values: float) -> None:
        self._context.metric(step, **values)

    def progress(self, done: int, total: int, message: str = "") -> None:
        self._context.progress(done, total, message)

    def checkpoint(self) -> bool:
        """Return the same answer on every worker: whether to stop before this step."""
        key = f"step/{self._steps}"
        self._steps += 1
        if not self.workers.leads:
            return wait(self._context, key, obey=False) == "stop"
        stop = self._context.checkpoint()
        say(self._context, key, "stop" if stop else "go")
        return stop

    def save_state(self, state: dict[str, Any]) -> None:
        self._context.save_state(state)

    def load_state(self) -> dict[str, Any] | None:
        """Return worker 0's kept state on every worker."""
        return hand_out(self._context, "state", self._context.load_state())

    def path(self, *parts: str) -> Path:
        return self._context.path(*parts)


def lockstep(context: JobContext) -> JobContext:
    """Return `context` for a loop that all its workers step through together; one alone keeps its own."""
    return context if workers_of(context).size == 1 else Lockstep(context)
