"""The parts of the main job: their order, their resumption, what is kept."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from fvm_core import pipeline
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.demo import TRAINING, VALIDATION
from fvm_core.errors import JobError
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.jobs.nested import NestedContext
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, write_record
from fvm_core.tuning.settings import TrainSettings, TuneSettings
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


@pytest.fixture
def data(workspace: Workspace) -> Workspace:
    add_dataset(workspace, "d", TRAINING)
    add_dataset(workspace, "v", VALIDATION)
    return workspace


def record(workspace: Workspace, name: str, **changes: Any) -> ModelRecord:
    """Write the record that the pipeline of ARGS would make, but for the changes."""
    tuned = name != "x-base"
    made: Any = TuneSettings(steps=3, solver="sgd", rho=0.1) if tuned else TrainSettings(epochs=1)
    values: dict[str, Any] = {
        "role": "vm" if tuned else "base", "spec": replace(SPEC, class_names=tuple("0123456789")),
        "sha256": "vm" if tuned else "old", "parent": "x-base" if tuned else "",
        "settings": {**made.to_json(), "machine": "here"}, "created": "2026-01-02" if tuned else "2026-01-01",
        "dataset": {"fingerprint": open_named(workspace, "d").fingerprint},
        "validation": {"fingerprint": open_named(workspace, "v").fingerprint},
    }  # fmt: skip
    written = ModelRecord(name, **values | changes)
    write_record(workspace, written)
    return written


def part(workspace: Workspace, name: str) -> dict[str, Any]:
    return {name: arguments for name, _, arguments in pipeline.plan(ARGS, workspace)}[name]


def test_made_before_keeps_the_same_model(data: Workspace) -> None:
    assert not pipeline.made_before(part(data, "train"), data)
    record(data, "x-base")
    record(data, "x-vm")
    assert pipeline.made_before(part(data, "train"), data) and pipeline.made_before(part(data, "tune-vm"), data)
    record(data, "x-vm", parent_sha256="old", created="")
    assert pipeline.made_before(part(data, "tune-vm"), data)


def test_a_model_of_the_first_version_counts_as_made_with_the_same_settings(data: Workspace) -> None:
    record(data, "x-base")
    settings = TuneSettings(steps=3, solver="sgd", rho=0.1).to_json()
    later = {key for key in settings if key.startswith(("asam_", "fsam_", "lpf_", "clip_", "sharpness_rho"))}
    assert len(later) == 8
    record(data, "x-vm", settings={key: value for key, value in settings.items() if key not in later})
    assert pipeline.made_before(part(data, "tune-vm"), data)
    record(data, "x-vm", settings={**settings, "fsam_sigma": 0.5, "lpf_gamma": 0.5})
    assert pipeline.made_before(part(data, "tune-vm"), data)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"spec": replace(SPEC, width=8)}, "architecture or input"),
        ({"settings": TrainSettings(epochs=2).to_json()}, "`epochs`"),
        ({"dataset": {"fingerprint": "other"}}, "training set"),
        ({"validation": {}}, "validation set"),
    ],
)
def test_another_base_of_that_name_is_refused_with_a_remedy(data: Workspace, change: Any, word: str) -> None:
    record(data, "x-base", **change)
    with pytest.raises(JobError, match=f"model `x-base` exists already, but with another {word}. Delete it .*prefix"):
        pipeline.run(MemoryContext(data.root / "job"), ARGS, data)


@pytest.mark.parametrize(
    ("change", "word"),
    [
        ({"parent_sha256": "gone"}, "parent than the `x-base` of now"),
        ({"created": "2025-12-31"}, "parent than the `x-base` of now"),
        ({"parent": "y-base"}, "parent than the `x-base` of now"),
        ({"settings": TuneSettings(steps=4, solver="sgd", rho=0.1).to_json()}, "`steps`"),
        ({"settings": TuneSettings(steps=3, solver="fsam", rho=0.1).to_json()}, "`solver`"),
        ({"settings": TuneSettings(steps=3, solver="sgd", rho=0.1, clip_norm=1.0).to_json()}, "`clip_norm`"),
        ({"settings": {"solver": "sgd", "rho": 0.1}}, "`batch_size`"),
    ],
)
def test_a_model_tuned_from_other_weights_is_refused(data: Workspace, change: Any, word: str) -> None:
    record(data, "x-base")
    record(data, "x-vm", **change)
    with pytest.raises(JobError, match=f"model `x-vm` exists already, but with another {word}"):
        pipeline.made_before(part(data, "tune-vm"), data)


def test_decoding_leaves_the_bar_of_the_whole_where_it_is() -> None:
    parent = MemoryContext()
    nested = NestedContext(parent, name="tune", start=10, end=20, scale=100)
    for done, message in ((900, "Decoding the training set"), (500, "step 5"), (999, "Decoding the validation set")):
        nested.progress(done, 1000, message)
    nested.close()
    assert [units for units, _, _ in parent.messages] == [10_000, 15_000, 15_000]
