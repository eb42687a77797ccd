"""A job that only counts: shows that jobs run, pause, stop and resume on this machine."""

from __future__ import annotations

import json
import time
from typing import Any

from fvm_core.errors import DataError, JobError
from fvm_core.files import write_json
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.workspace import Workspace


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Count to `steps` (default 20), `seconds` (default 0.1) a step; return {"total": 1 + 2 + ... + steps, "runs": n}.

    `torch` true: the state is kept by `save_state`; else as JSON in the job's folder (no import of torch).
    `fail_at`: raise at that step, on the first run only; `fail_with` "data" (DataError) or "defect" (RuntimeError).

    Raises:
        JobError: a state that does not fit: a defect of jobs.
    """
    steps, seconds, torch_state = int(args.get("steps", 20)), float(args.get("seconds", 0.1)), bool(args.get("torch"))
    state = _load(context, torch_state)
    step, total, runs = state["step"], state["total"], state["runs"] + 1
    if total != step * (step + 1) // 2:
        raise JobError(f"`total` must be {step * (step + 1) // 2} after step {step}, got {total}. Delete the job.")
    while step < steps:
        step += 1
        time.sleep(seconds)
        if step == args.get("fail_at") and runs == 1:
            _save(context, torch_state, {"step": step - 1, "total": total, "runs": runs})
            if args.get("fail_with") == "defect":
                raise RuntimeError(f"planted defect at step {step}")
            raise DataError(f"planted fault at step {step}")
        total += step
        context.metric(step, total=total, run=runs)
        context.progress(step, steps, f"step {step}")
        _save(context, torch_state, {"step": step, "total": total, "runs": runs})
        if context.checkpoint():
            raise JobStopped
    return {"total": total, "runs": runs}


def _load(context: JobContext, torch_state: bool) -> dict[str, int]:
    empty = {"step": 0, "total": 0, "runs": 0}
    if torch_state:
        return context.load_state() or empty
    path = context.path("count.json")
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else empty


def _save(context: JobContext, torch_state: bool, state: dict[str, int]) -> None:
    if torch_state:
        context.save_state(state)
    else:
        write_json(context.path("count.json"), state)
