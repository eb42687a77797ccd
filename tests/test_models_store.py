"""Records of models in the workspace."""

from __future__ import annotations

import json

import pytest

from fvm_core.errors import CheckpointError
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, list_models, read_record, write_record
from fvm_core.workspace import Workspace


def _record(name: str = "slim", **changes: object) -> ModelRecord:
    values = {
        "spec": ModelSpec("cifar_resnet18", 2, width=16, class_names=("a", "b")),
        "sha256": "00ff",
        "snapshots": ({"step": 0, "file": "snapshots/step_000000.safetensors"},),
        "checkpoints": ({"epoch": 2, "file": "checkpoints/epoch_0002.safetensors"},),
        "metrics": {"val_accuracy": 0.5},
        "created": "2026-01-01T00:00:00+00:00",
    }
    return ModelRecord(name, "base", **(values | changes))  # type: ignore[arg-type]


def test_record_round_trip(workspace: Workspace) -> None:
    record = _record()
    write_record(workspace, record)
    assert read_record(workspace, "slim") == record


def test_record_with_nan_metric_is_valid_json(workspace: Workspace) -> None:
    write_record(workspace, _record(metrics={"loss": float("nan"), "curve": [1.0, float("inf")]}))
    text = (workspace.models / "slim" / "model.json").read_text()
    assert "NaN" not in text and "Infinity" not in text
    assert read_record(workspace, "slim").metrics == {"loss": None, "curve": [1.0, None]}


def test_list_models_orders_by_creation_and_leaves_out_damaged_ones(workspace: Workspace) -> None:
    write_record(workspace, _record("b", created="2026-01-01"))
    write_record(workspace, _record("a", created="2026-01-02"))
    for name, text in (("broken", "{"), ("list", "[]"), ("other", '{"name": 1}')):
        (workspace.models / name).mkdir()
        (workspace.models / name / "model.json").write_text(text)
    assert list(list_models(workspace)) == ["b", "a"]
    for name in ("broken", "list", "other"):
        with pytest.raises(CheckpointError):
            read_record(workspace, name)


def test_read_record_names_what_there_is(workspace: Workspace) -> None:
    with pytest.raises(CheckpointError, match="no model named 'x'; there are: none yet"):
        read_record(workspace, "x")
    write_record(workspace, _record())
    with pytest.raises(CheckpointError, match="no model named 'x'; there are: slim"):
        read_record(workspace, "x")


@pytest.mark.parametrize("name", ["../slim", "a/b", "", "Slim", "..", "a\0b"])
def test_names_never_leave_the_folder(workspace: Workspace, name: str) -> None:
    with pytest.raises(CheckpointError, match="must be a name of a-z"):
        read_record(workspace, name)


@pytest.mark.parametrize("change", [{"role": "boss"}, {"extra": 1}, {"spec": None}])
def test_record_from_json_refuses(change: dict[str, object]) -> None:
    value = json.loads(json.dumps(_record().to_json())) | change
    if change == {"spec": None}:
        del value["spec"]
    with pytest.raises(CheckpointError, match="a model's record must have"):
        ModelRecord.from_json(value)
