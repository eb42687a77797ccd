"""Run a job in this process and tell its result on stdout."""

from __future__ import annotations

import json
from typing import Any

from fvm_core.distributed.environment import SHARED, launched
from fvm_core.workspace import Workspace


def run_and_print(workspace: Workspace, kind: str, work: dict[str, Any], *, title: str) -> int:
    """Run the job to its end; print its result as JSON. Returns 0 when done, 3 when it was stopped.

    Started by torchrun, this process does its share of the job, and only worker 0 prints.

    Raises:
        FVMError: what the work raised.
    """
    from fvm_core.jobs.launch import run_job

    if (launch := launched()) is not None and kind in SHARED:
        from fvm_core.distributed.launch import share_job

        shared = share_job(launch, workspace, kind, work, title=title)
        if shared is None:
            return 0
        status = shared
    else:
        status = run_job(workspace, kind, work, title=title, foreground=True)
    if status.state != "done":
        print(f"{status.state}; go on with: python -m fvm_core job {workspace.jobs / status.id}")
        return 3
    print(json.dumps(status.result, indent=2, ensure_ascii=False))
    return 0
