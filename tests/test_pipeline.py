"""The parts of the main job: their order, their resumption, what is kept."""

from __future__ import annotations

from typing import Any

import pytest

from fvm_core import pipeline
from fvm_core.errors import JobError
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, write_record
from fvm_core.workspace import Workspace

SPEC = ModelSpec("digits_cnn", 10, width=4, in_channels=1, image_size=8)
ARGS: dict[str, Any] = {
    "prefix": "x", "dataset": "d", "validation": "v", "model": SPEC.to_json(), "train": {"epochs": 1}, "rho": 0.1,
    "tune": {"steps": 3},
}  # fmt: skip


def test_plan_tunes_vm_with_sgd_and_fvm_with_sam_from_the_same_base(workspace: Workspace) -> None:
    parts = pipeline.plan(ARGS, workspace)
    assert [name for name, _, _ in parts] == list(pipeline.SHARES)
    by_name = {name: arguments for name, _, arguments in parts}
    assert by_name["tune-vm"]["settings"] == {"steps": 3, "solver": "sgd", "rho": 0.1}
    assert by_name["tune-fvm"]["settings"] == {"steps": 3, "solver": "sam", "rho": 0.1}
    assert by_name["tune-vm"]["model"] == by_name["tune-fvm"]["model"] == "x-base"
    assert "influence" in by_name["score-fvm"]["methods"]


def test_plan_without_a_base_model_says_so(workspace: Workspace) -> None:
    with pytest.raises(JobError, match="`x-base` is not in the workspace"):
        pipeline.plan({key: value for key, value in ARGS.items() if key not in ("model", "train")}, workspace)


def test_run_resumes_after_the_part_that_failed(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    calls: list[str] = []
    broken = {"score-vm"}

    def load(kind: str) -> Any:
        def work(context: Any, arguments: dict[str, Any], _: Workspace) -> dict[str, Any]:
            calls.append(context.name)
            if context.name in broken:
                raise RuntimeError("power cut")
            context.metric(1, loss=2.0)
            context.progress(1, 2, "half")
            return {"part": context.name}

        return work

    monkeypatch.setattr(pipeline, "load_kind", load)
    context = MemoryContext(workspace.root / "job")
    with pytest.raises(RuntimeError, match="power cut"):
        pipeline.run(context, ARGS, workspace)
    assert calls == ["train", "tune-vm", "tune-fvm", "score-base", "score-vm"]
    broken.clear()
    calls.clear()
    results = pipeline.run(context, ARGS, workspace)
    assert calls == ["score-vm", "score-fvm", "snapshots"]
    assert results == {name: {"part": name} for name in pipeline.SHARES}


@pytest.mark.parametrize(("steps", "kept"), [(3, True), (4, False)])
def test_made_before_wants_the_same_parent_and_settings(workspace: Workspace, steps: int, kept: bool) -> None:
    arguments = {"model": "x-base", "name": "x-vm", "settings": {"steps": 3, "solver": "sgd"}}
    assert not pipeline.made_before(arguments, workspace)
    settings = {"steps": steps, "solver": "sgd", "machine": "here"}
    write_record(workspace, ModelRecord("x-vm", "vm", SPEC, parent="x-base", settings=settings))
    assert pipeline.made_before(arguments, workspace) is kept
