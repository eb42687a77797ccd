"""One command, started once for each worker: worker 0 runs the job, the others follow it."""

from __future__ import annotations

import json
import sys
from typing import Any

from fvm_core.distributed.context import SharedContext
from fvm_core.distributed.environment import Launch
from fvm_core.distributed.join import joined
from fvm_core.distributed.meeting import say, wait
from fvm_core.distributed.workers import Workers
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.jobs.echo import Echo
from fvm_core.jobs.kinds import load_kind
from fvm_core.jobs.launch import claim_job
from fvm_core.jobs.status import JobStatus
from fvm_core.jobs.worker import stop_on_signals, work
from fvm_core.workspace import Workspace

JOB = "job"


def share_job(launch: Launch, workspace: Workspace, kind: str, args: dict[str, Any], *, title: str) -> JobStatus | None:
    """Do this worker's share of a job; return its status (done or stopped) on worker 0, None on the others.

    The newest job with these very arguments that was cut (a worker lost, a stop) is resumed, with any number of
    workers; else a new one is made. All workers must see the same workspace folder.

    Raises:
        FVMError: what the work raised on this worker, or what made another one fail.
        SystemExit: the job was stopped, on a worker other than 0 (code 3).
    """
    try:
        with joined(launch) as workers:
            if workers.leads:
                return _lead(workers, workspace, kind, args, title)
            _follow(workers, workspace, kind)
    except JobStopped:
        raise SystemExit(3) from None
    return None


def _lead(workers: Workers, workspace: Workspace, kind: str, args: dict[str, Any], title: str) -> JobStatus:
    folder, lock, old = claim_job(workspace, kind, args, title=title)
    if old:
        print(f"Going on with job {folder.id} (`jobs delete {folder.id}` to start anew).", file=sys.stderr, flush=True)
    spec = folder.read_spec()

    def dress(own: JobContext) -> JobContext:
        context = SharedContext(workers, folder.root, own=own)
        say(context, JOB, json.dumps({"folder": folder.id, "args": spec.args}))
        return context

    outcome = work(folder, lock, echo=Echo(), dress=dress if workers.size > 1 else None)
    if outcome.error:
        raise outcome.error
    return outcome.status


def _follow(workers: Workers, workspace: Workspace, kind: str) -> None:
    with stop_on_signals() as halt:
        job = json.loads(wait(SharedContext(workers, workspace.jobs, own=None, halt=halt), JOB))
        context = SharedContext(workers, workspace.jobs / job["folder"], own=None, halt=halt)
        load_kind(kind)(context, job["args"], workspace)
