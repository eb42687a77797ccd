"""Records of models in the workspace."""

from __future__ import annotations

import json

import pytest
from app_pages import ended_job, running_job

from fvm_core.errors import CheckpointError
from fvm_core.jobs.names import promised_names
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, delete_model, list_models, read_record, write_record
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


def test_deleted_model_is_gone_with_its_folder_and_others_stay(workspace: Workspace) -> None:
    write_record(workspace, _record())
    write_record(workspace, _record("other"))
    (workspace.models / "slim" / "snapshots").mkdir()
    delete_model(workspace, "slim")
    assert [path.name for path in workspace.models.iterdir()] == ["other"]
    with pytest.raises(CheckpointError, match="there is no model named 'slim' to delete"):
        delete_model(workspace, "slim")
    with pytest.raises(CheckpointError, match="`model` must be a name of a-z"):
        delete_model(workspace, "../models")


def test_half_deleted_model_is_not_listed(workspace: Workspace) -> None:
    write_record(workspace, _record())
    (workspace.models / "slim").rename(workspace.models / ".deleted-slim-00")
    assert list_models(workspace) == {}


def test_model_in_use_by_an_active_job_is_not_deleted(workspace: Workspace) -> None:
    write_record(workspace, _record())
    words = r'model .slim. is in use by the job "Score slim"\. Stop that job'
    with (
        running_job(workspace, "score", {"model": "slim", "run": "slim"}, title="Score slim"),
        pytest.raises(CheckpointError, match=words),
    ):
        delete_model(workspace, "slim")
    delete_model(workspace, "slim")


def test_names_promised_to_unfinished_jobs(workspace: Workspace) -> None:
    ended_job(workspace, "tune", {"model": "m", "name": "cut"}, title="Cut", state="running")
    ended_job(workspace, "tune", {"model": "m", "name": "ready"}, title="Ready", state="done")
    ended_job(workspace, "score", {"model": "m", "name": "no-model"}, title="Score", state="running")
    ended_job(workspace, "pipeline", {"prefix": "cats"}, title="All of it", state="running")
    with running_job(workspace, "train", {"name": "now"}, title="Train now", state="paused"):
        assert promised_names(workspace) == {
            "now": "Train now", "cut": "Cut", "cats-base": "All of it", "cats-vm": "All of it", "cats-fvm": "All of it",
        }  # fmt: skip
