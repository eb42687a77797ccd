"""The workers of one job: which one this process is, sums over all of them, and the error when one is lost."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed as dist
from torch import Tensor

from fvm_core.distributed.environment import SECONDS, TIMEOUT
from fvm_core.errors import JobError
from fvm_core.jobs.context import JobContext

FAILED = "failed"


@dataclass(frozen=True)
class Workers:
    """Worker `rank` of `size`; worker 0 leads: it alone owns the job's folder. `store` (torch's key-value store) is
    None for one worker alone. `timeout` in seconds bounds every wait for a worker that gives no sign of life."""

    rank: int = 0
    size: int = 1
    store: dist.Store | None = None
    timeout: int = SECONDS

    @property
    def leads(self) -> bool:
        return self.rank == 0

    def share(self, n: int) -> slice:
        """Return this worker's part of 0..n; the parts are contiguous, in the order of the ranks, and differ by one.

        >>> [Workers(rank, 3).share(10) for rank in range(3)]
        [slice(0, 3, None), slice(3, 6, None), slice(6, 10, None)]
        """
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def sum_(self, tensor: Tensor) -> Tensor:
        """Replace `tensor` by its sum over all workers, in place, and return it. All workers have to call it.

        Raises:
            JobError: a worker failed, ended, or did not answer within `timeout`.
        """
        if self.size > 1:
            with self.guarded():
                dist.all_reduce(tensor)
        return tensor

    @contextmanager
    def guarded(self) -> Iterator[None]:
        """Turn the error of a collective in the block into one that names the worker at fault and the remedy."""
        try:
            yield
        except RuntimeError as error:
            if self.size == 1 or not _of_a_collective(error):
                raise
            raise self.lost() from error

    def lost(self, who: str = "a worker") -> JobError:
        """Return the error that a worker failed or is lost: its own words if it left any, else the timeout's."""
        said = self.failure()
        if said:
            return JobError(said)
        return JobError(
            f"{who} of {self.size} ended without a word (killed, out of memory) or did not answer within "
            f"{self.timeout} s ({TIMEOUT}). Start the same command again: it goes on from what is kept."
        )

    def failure(self) -> str:
        """Return the words of the first worker that failed, empty if none did or they are out of reach."""
        try:
            if self.store is not None and self.store.check([FAILED]):
                return self.store.get(FAILED).decode()
        except RuntimeError:
            pass
        return ""

    def fail(self, error: BaseException) -> None:
        """Tell the others why this worker gives up; the first one's words stay."""
        words = (str(error).strip() or type(error).__name__).splitlines()[0]
        try:
            if self.store is not None:
                self.store.compare_set(FAILED, "", f"worker {self.rank} of {self.size} failed: {words}")
        except RuntimeError:
            pass


ALONE = Workers()


def workers_of(context: JobContext) -> Workers:
    """Return the workers that share the job behind `context`: one alone, unless the context says otherwise."""
    found = getattr(context, "workers", ALONE)
    assert isinstance(found, Workers)
    return found


def device_of_collectives() -> torch.device:
    """Return where tensors have to be for a sum over the workers."""
    return torch.device("cuda" if dist.get_backend() == "nccl" else "cpu")


def _of_a_collective(error: RuntimeError) -> bool:
    words = str(error).lower()
    return isinstance(error, dist.DistError) or any(word in words for word in ("gloo", "nccl", "connection closed"))
