"""Saving, loading and reading weights."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
import torch

from fvm_core.errors import CheckpointError, SettingsError
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model, load_snapshot, read_state, save_model, save_weights
from fvm_core.models.spec import ModelSpec
from fvm_core.models.store import ModelRecord, read_record
from fvm_core.workspace import Workspace

SPEC = ModelSpec("cifar_resnet18", 3, width=4, mean=(0.5,), std=(0.25,), class_names=("a", "b", "c"))


def _saved(workspace: Workspace, spec: ModelSpec = SPEC) -> tuple[torch.nn.Module, ModelRecord]:
    model = build_model(spec)
    model.train()(torch.randn(4, spec.in_channels, spec.image_size, spec.image_size))
    return model, save_model(workspace.models / "slim", model, ModelRecord("slim", "base", spec))


@pytest.mark.parametrize("spec", [SPEC, ModelSpec("digits_cnn", 10, in_channels=1, image_size=8)])
def test_save_and_load_are_equal_bit_for_bit(workspace: Workspace, spec: ModelSpec) -> None:
    model, record = _saved(workspace, spec)
    loaded, found = load_model(workspace, "slim")
    assert found == record == read_record(workspace, "slim")
    assert not loaded.training
    expected = model.state_dict()
    assert int(expected["bn1.num_batches_tracked"]) == 1
    for name, value in loaded.state_dict().items():
        assert value.dtype == expected[name].dtype and torch.equal(value, expected[name]), name
    content = (workspace.models / "slim" / "model.safetensors").read_bytes()
    assert record.sha256 == hashlib.sha256(content).hexdigest()


def test_saved_weights_are_the_same_bytes_for_the_same_model(workspace: Workspace, tmp_path: Path) -> None:
    model, record = _saved(workspace)
    again = save_model(tmp_path / "other", model, ModelRecord("other", "base", SPEC))
    assert again.sha256 == record.sha256


def test_shared_and_strided_weights_are_saved_whole(tmp_path: Path) -> None:
    class Tied(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.a = torch.nn.Parameter(torch.randn(4, 5))
            self.b = self.a
            self.register_buffer("c", torch.randn(6, 7).t())
            self.register_buffer("d", torch.randn(100)[10:20])

    model = Tied()
    save_weights(tmp_path / "w.safetensors", model)
    found = read_state(tmp_path / "w.safetensors")
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    assert (tmp_path / "w.safetensors").stat().st_size < 1000


def test_snapshots_load_and_cannot_leave_the_folder(workspace: Workspace) -> None:
    model, _ = _saved(workspace)
    with torch.no_grad():
        model.fc.bias.fill_(7)
    save_weights(workspace.models / "slim" / "snapshots" / "step_000010.safetensors", model)
    snapshot = load_snapshot(workspace, "slim", "snapshots/step_000010.safetensors")
    assert snapshot.fc.bias.tolist() == [7, 7, 7]
    assert not snapshot.training
    save_weights(workspace.root / "outside.safetensors", model)
    for file in ("../../outside.safetensors", str(workspace.root / "outside.safetensors")):
        with pytest.raises(CheckpointError, match="`file` must lie in the folder of model 'slim'"):
            load_snapshot(workspace, "slim", file)
    with pytest.raises(CheckpointError, match=r"no weights file 'snapshots/none.safetensors'"):
        load_snapshot(workspace, "slim", "snapshots/none.safetensors")


def test_changed_weights_are_noticed(workspace: Workspace) -> None:
    _saved(workspace)
    save_weights(workspace.models / "slim" / "model.safetensors", build_model(SPEC))
    with pytest.raises(CheckpointError, match=r"are not the ones in its record \(their SHA-256 differs\)"):
        load_model(workspace, "slim")


def test_custom_models_load_with_the_flag_only(workspace: Workspace, monkeypatch: pytest.MonkeyPatch) -> None:
    import sys
    import types

    module = types.ModuleType("nets_of_mine")
    module.net = lambda num_classes: torch.nn.Linear(4, num_classes)  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nets_of_mine", module)
    spec = ModelSpec("custom:nets_of_mine:net", 3)
    model = build_model(spec, allow_custom=True)
    save_model(workspace.models / "own", model, ModelRecord("own", "imported", spec))
    with pytest.raises(SettingsError, match="command line only"):
        load_model(workspace, "own")
    loaded, _ = load_model(workspace, "own", allow_custom=True)
    assert torch.equal(loaded.weight, model.weight)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "it is empty"),
        (b"version https://git-lfs.github.com/spec/v1\n", "Git LFS pointer"),
        (b"\n<!DOCTYPE html><html>", "web page"),
        (b"\x89HDF\r\n\x1a\n", "HDF5"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"\xff\xd8\xff\xe0JFIF", "starts with the bytes ff d8 ff e0 4a 46 49 46"),
        (b"hello\n", "it is a text file"),
        (b"\tlr: 0.1\r\nsteps: 1000\r\n", "it is a text file"),
    ],
)
def test_files_of_other_kinds_are_told_apart(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "w.pt"
    path.write_bytes(content)
    with pytest.raises(CheckpointError, match=f"`w.pt` is neither a safetensors file.*{message}"):
        read_state(path)


def test_missing_and_too_large_files(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="there is no weights file"):
        read_state(tmp_path / "none.pt")
    with pytest.raises(CheckpointError, match="there is no weights file"):
        read_state(tmp_path)
    torch.save({"w": torch.ones(1000)}, tmp_path / "w.pt")
    with pytest.raises(CheckpointError, match=r"`w.pt` has [\d,]+ bytes, the limit is 1,000"):
        read_state(tmp_path / "w.pt", max_bytes=1000)
    with open(tmp_path / "sparse.pt", "wb") as file:
        file.truncate(5 << 30)
    with pytest.raises(CheckpointError, match="has 5,368,709,120 bytes"):
        read_state(tmp_path / "sparse.pt")


def test_a_lightning_checkpoint_is_read_and_nan_is_named(tmp_path: Path) -> None:
    model = build_model(SPEC)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    model(torch.randn(2, 3, 32, 32)).sum().backward()
    optimizer.step()
    state = {f"model._orig_mod.{name}": value for name, value in model.state_dict().items()}
    checkpoint = {
        "epoch": 3, "global_step": 99, "pytorch-lightning_version": "2.5.0", "hyper_parameters": {"lr": 0.1},
        "optimizer_states": [optimizer.state_dict()], "lr_schedulers": [], "loops": {"fit_loop": {"state_dict": {}}},
        "state_dict": state | {"criterion.weight": torch.ones(3)},
    }  # fmt: skip
    torch.save(checkpoint, tmp_path / "last.ckpt")
    found = read_state(tmp_path / "last.ckpt")
    assert found.keys() == model.state_dict().keys()
    assert all(torch.equal(found[name], value) for name, value in model.state_dict().items())
    state["model._orig_mod.layer2.0.bn1.weight"] = torch.full((8,), float("nan"))
    torch.save(checkpoint | {"state_dict": state}, tmp_path / "nan.ckpt")
    with pytest.raises(CheckpointError, match=r"NaN or infinite weights in model._orig_mod.layer2.0.bn1.weight"):
        read_state(tmp_path / "nan.ckpt")
