"""Makes the processes of one launch into the workers of one job."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta

import torch
import torch.distributed as dist

from fvm_core.distributed.environment import Launch
from fvm_core.distributed.heartbeat import beating
from fvm_core.distributed.workers import ALONE, Workers
from fvm_core.errors import JobError
from fvm_core.jobs.context import JobStopped


@contextmanager
def joined(launch: Launch, *, patience: int = 300) -> Iterator[Workers]:
    """Meet the other workers at MASTER_ADDR:MASTER_PORT (torchrun sets both), NCCL on GPUs and gloo without.

    A worker that leaves by an error says so to the others, which raise it too: see `Workers.lost`.

    Raises:
        JobError: the others did not come within `patience` seconds (machines may start one after the other).
    """
    if launch.size == 1:
        yield ALONE
        return
    timeout = timedelta(seconds=launch.timeout)
    if torch.cuda.is_available():
        torch.cuda.set_device(launch.local_rank)
    try:
        root, _, _ = next(dist.rendezvous("env://", timeout=timedelta(seconds=patience)))
        # torchrun's --max-restarts may keep the store: words of an earlier attempt must not be heard again.
        store = dist.PrefixStore(f"fvm/{os.environ.get('TORCHELASTIC_RESTART_COUNT', 0)}", root)
        dist.init_process_group(
            "nccl" if torch.cuda.is_available() else "gloo", store=dist.PrefixStore("group", store), timeout=timeout,
            rank=launch.rank, world_size=launch.size,
        )  # fmt: skip
    except (RuntimeError, ValueError) as error:
        raise JobError(
            f"worker {launch.rank} could not meet the other {launch.size - 1} within {patience} s "
            f"({str(error).splitlines()[0]}). Check MASTER_ADDR and MASTER_PORT, and start all workers."
        ) from error
    workers = Workers(launch.rank, launch.size, store, launch.timeout)
    with beating(workers):
        try:
            yield workers
        except (JobStopped, SystemExit):
            raise
        except BaseException as error:
            workers.fail(error)
            raise
    dist.destroy_process_group()
