"""The context for tests behaves as the one on disk."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from fvm_core.errors import JobError
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.jobs.selftest import run
from fvm_core.workspace import Workspace


def test_work_stops_resumes_and_ends_as_if_uninterrupted(tmp_path: Path, workspace: Workspace) -> None:
    context = MemoryContext(folder=tmp_path / "job", stop_at=4)
    args = {"steps": 10, "seconds": 0, "torch": True}
    with pytest.raises(JobStopped):
        run(context, args, workspace)
    context.stop_at = None
    assert run(context, args, workspace) == {"total": 55, "runs": 2}
    assert [row["step"] for row in context.metrics] == list(range(1, 11))
    assert context.messages[-1] == (10, 10, "step 10")
    assert context.saves == 10


def test_state_is_a_copy(tmp_path: Path) -> None:
    context: JobContext = MemoryContext(folder=tmp_path)
    assert context.load_state() is None
    weights = torch.zeros(2)
    context.save_state({"w": weights})
    weights += 1
    state = context.load_state()
    assert state is not None and torch.equal(state["w"], torch.zeros(2))


def test_state_refuses_what_a_job_on_disk_would_refuse(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="must be a tensor"):
        MemoryContext(folder=tmp_path).save_state({"x": object()})


def test_path_stays_inside(tmp_path: Path) -> None:
    context = MemoryContext(folder=tmp_path)
    assert context.path("a", "b.txt") == tmp_path / "a" / "b.txt"
    with pytest.raises(JobError, match="must stay inside"):
        context.path("..", "b.txt")
