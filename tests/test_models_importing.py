"""The import job, from upload to stored model."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch
from app_pages import running_job

from fvm_core.errors import CheckpointError, FVMError, SettingsError, StorageError
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.models.build import build_model
from fvm_core.models.checkpoint import load_model, save_model
from fvm_core.models.importing import describe, probe, run
from fvm_core.models.spec import NORMALISATIONS, ModelSpec
from fvm_core.models.store import ModelRecord, list_models
from fvm_core.workspace import Workspace

SLIM = ModelSpec("cifar_resnet18", 5, width=4)


def _upload(tmp_path: Path, model: torch.nn.Module, prefix: str = "") -> str:
    state = {prefix + name: value for name, value in model.state_dict().items()}
    torch.save({"state_dict": state, "epoch": 1}, tmp_path / "upload.pt")
    return str(tmp_path / "upload.pt")


def test_import_infers_and_stores_the_exact_weights(workspace: Workspace, tmp_path: Path) -> None:
    model = build_model(SLIM)
    context = MemoryContext()
    args = {"upload": _upload(tmp_path, model, "module."), "name": "My Net", "spec": {"class_names": list("abcde")}}
    result = run(context, args, workspace)
    mean, std = NORMALISATIONS["cifar10"]
    expected = ModelSpec("cifar_resnet18", 5, width=4, mean=mean, std=std, class_names=tuple("abcde"))
    parameters = sum(parameter.numel() for parameter in model.parameters())
    assert result == {"model": "my-net", "spec": expected.to_json(), "inferred": True, "parameters": parameters}
    loaded, record = load_model(workspace, "my-net")
    assert record.spec == expected and record.role == "imported" and record.created
    assert all(torch.equal(value, model.state_dict()[name]) for name, value in loaded.state_dict().items())
    assert context.messages[-1][:2] == (4, 4)


def test_our_own_file_brings_its_description_along(workspace: Workspace, tmp_path: Path) -> None:
    spec = ModelSpec("digits_cnn", 3, width=16, in_channels=1, image_size=8, mean=(0.3,), class_names=("x", "y", "z"))
    save_model(tmp_path / "elsewhere", build_model(spec), ModelRecord("elsewhere", "fvm", spec))
    args = {"upload": str(tmp_path / "elsewhere" / "model.safetensors"), "name": "again"}
    run(MemoryContext(), args, workspace)
    assert load_model(workspace, "again")[1].spec == spec


def test_a_chosen_architecture_and_input_win(workspace: Workspace, tmp_path: Path) -> None:
    upload = _upload(tmp_path, build_model(ModelSpec("torchvision:squeezenet1_1", 4)))
    chosen = {"arch": "torchvision:squeezenet1_1", "image_size": 64, "mean": [0.5], "std": [0.5], "width": None}
    result = run(MemoryContext(), {"upload": upload, "name": "sq", "spec": chosen}, workspace)
    spec = load_model(workspace, "sq")[1].spec
    assert (spec.num_classes, spec.image_size, spec.mean, spec.std) == (4, 64, (0.5,), (0.5,))
    assert result["inferred"] is False


def test_a_taken_name_is_refused_and_a_resumed_job_is_not(workspace: Workspace, tmp_path: Path) -> None:
    args = {"upload": _upload(tmp_path, build_model(SLIM)), "name": "net"}
    context = MemoryContext()
    first = run(context, args, workspace)
    assert run(context, args, workspace) | {"inferred": True} == first
    with pytest.raises(CheckpointError, match=r"already a model named 'net'. Choose another name"):
        run(MemoryContext(), args, workspace)


@pytest.mark.parametrize(
    ("spec", "message"),
    [
        ({"num_classes": 7}, r"wrong shape: fc.weight is \(5, 32\), expected \(7, 32\)"),
        ({"width": 8}, "wrong shape: conv1.weight"),
        ({"arch": "cifar_resnet34"}, "missing: layer1.2.conv1.weight"),
        ({"arch": "resnet"}, "`arch` must be digits_cnn"),
        ({"class_names": ["a"]}, "`class_names` must hold 5 names"),
        ({"colour": 1}, "only known keys"),
        ({"arch": "custom:os:system"}, "command line only"),
        ({"num_classes": "5"}, "`num_classes` must be a whole number"),
    ],
)
def test_wrong_choices_are_told_and_nothing_is_stored(
    workspace: Workspace, tmp_path: Path, spec: dict[str, Any], message: str
) -> None:
    args = {"upload": _upload(tmp_path, build_model(SLIM)), "name": "net", "spec": spec}
    with pytest.raises(FVMError, match=message):
        run(MemoryContext(), args, workspace)
    assert list_models(workspace) == {}


def test_unknown_tensors_ask_for_the_architecture() -> None:
    with pytest.raises(CheckpointError, match=r"cannot be told from these tensors.*Choose it \(`arch`\)"):
        describe({"strange.weight": torch.ones(2, 2)}, {"arch": ""}, known=None)
    with pytest.raises(CheckpointError, match="`num_classes` cannot be told"):
        describe({"strange.weight": torch.ones(2)}, {"arch": "custom:a:b"})


def test_custom_needs_the_flag_itself(workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "nets_here.py").write_text(
        "import torch\n"
        "def net(num_classes):\n"
        "    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, num_classes))\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(192, 6))
    spec = {"arch": "custom:nets_here:net", "image_size": 8}
    args = {"upload": _upload(tmp_path, model), "name": "own", "spec": spec}
    for flag in ({}, {"allow_custom": "yes"}, {"spec": spec | {"allow_custom": True}}):
        with pytest.raises(FVMError, match=r"command line only|only known keys"):
            run(MemoryContext(), args | flag, workspace)
    run(MemoryContext(), args | {"allow_custom": True}, workspace)
    assert load_model(workspace, "own", allow_custom=True)[1].spec.num_classes == 6


def test_a_malicious_upload_stores_nothing(workspace: Workspace, tmp_path: Path) -> None:
    class Payload:
        def __reduce__(self) -> tuple[Any, ...]:
            return os.system, (f"touch {tmp_path / 'ran'}",)

    torch.save({"state_dict": build_model(SLIM).state_dict(), "extra": Payload()}, tmp_path / "evil.pt")
    with pytest.raises(CheckpointError, match=r"asks for `posix.system`"):
        run(MemoryContext(), {"upload": str(tmp_path / "evil.pt"), "name": "evil"}, workspace)
    assert not (tmp_path / "ran").exists()
    assert list_models(workspace) == {}


def _kept(workspace: Workspace, data: bytes) -> Path:
    workspace.uploads.mkdir()
    path = workspace.uploads / f"{'a' * 32}.pt"
    path.write_bytes(data)
    return path


def test_an_upload_is_removed_once_imported_and_files_elsewhere_stay(workspace: Workspace, tmp_path: Path) -> None:
    own = Path(_upload(tmp_path, build_model(SLIM)))
    upload = _kept(workspace, own.read_bytes())
    context = MemoryContext()
    run(context, {"upload": str(upload), "file": "mine.pt", "name": "net"}, workspace)
    assert not upload.exists() and list_models(workspace)["net"].settings == {"file": "mine.pt"}
    assert run(context, {"upload": str(upload), "file": "mine.pt", "name": "net"}, workspace)["model"] == "net"
    run(MemoryContext(), {"upload": str(own), "name": "other"}, workspace)
    assert own.exists()


def test_a_refused_upload_is_removed_and_called_by_the_persons_name(workspace: Workspace) -> None:
    args = {"upload": str(_kept(workspace, b"\x89HDF junk")), "file": "keras.pt", "name": "net"}
    with pytest.raises(CheckpointError, match=r"^`keras\.pt` is neither a safetensors .* is HDF5"):
        run(MemoryContext(), args, workspace)
    assert list(workspace.uploads.iterdir()) == []
    with pytest.raises(CheckpointError, match=r"the upload `keras\.pt` is not kept after an import\. Upload it again"):
        run(MemoryContext(), args, workspace)


def test_an_upload_that_another_import_reads_stays(workspace: Workspace, tmp_path: Path) -> None:
    upload = _kept(workspace, Path(_upload(tmp_path, build_model(SLIM))).read_bytes())
    args = {"upload": str(upload), "name": "net"}
    with running_job(workspace, "import_model", {**args, "name": "twin"}, title="Import twin"):
        run(MemoryContext(), args, workspace)
    assert upload.exists() and list(list_models(workspace)) == ["net"]


def test_an_upload_stays_when_the_disk_is_full(
    workspace: Workspace, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    upload = _kept(workspace, Path(_upload(tmp_path, build_model(SLIM))).read_bytes())

    def full(*_: object) -> None:
        raise StorageError("`x` could not be written. Free disk space.")

    monkeypatch.setattr("fvm_core.models.importing.save_model", full)
    with pytest.raises(StorageError, match="Free disk space"):
        run(MemoryContext(), {"upload": str(upload), "name": "net"}, workspace)
    assert upload.exists(), "the job can be resumed"


def test_probe_says_which_input_or_output_is_wrong() -> None:
    spec = ModelSpec("custom:a:b", 3, image_size=8)
    with pytest.raises(CheckpointError, match="cannot take 3-channel images of 8 pixels"):
        probe(torch.nn.Linear(5, 3), spec)
    with pytest.raises(CheckpointError, match=r"finite logits of shape \(2, 3\) for two images, got \(2, 192\)"):
        probe(torch.nn.Flatten(), spec)
    with pytest.raises(SettingsError):
        build_model(spec)
