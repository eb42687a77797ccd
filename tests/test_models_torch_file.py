"""Hostile, damaged and honest files of torch.save. No payload may run, no memory may be taken, no odd exception."""

from __future__ import annotations

import io
import os
import pickle
import tracemalloc
import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from fvm_core.errors import CheckpointError
from fvm_core.models.checkpoint import read_state

STATE = {"fc.weight": torch.arange(6.0).view(2, 3), "fc.bias": torch.tensor([1.0, 2.0])}
ZIP, LEGACY = True, False


class Payload:
    """Touches a file when a careless reader unpickles it."""

    def __init__(self, target: Path) -> None:
        self.target = target

    def __reduce__(self) -> tuple[Any, ...]:
        return os.system, (f"touch {self.target}",)


def _read(path: Path, **options: Any) -> dict[str, torch.Tensor]:
    return read_state(path, **options)


@pytest.mark.parametrize("as_zip", [ZIP, LEGACY])
def test_honest_files_come_back_bit_for_bit(tmp_path: Path, as_zip: bool) -> None:
    state = STATE | {"half": torch.randn(5).bfloat16(), "steps": torch.tensor(7)}
    torch.save(state, tmp_path / "w.pt", _use_new_zipfile_serialization=as_zip)
    found = _read(tmp_path / "w.pt")
    assert found.keys() == state.keys()
    assert all(torch.equal(found[key], state[key]) and found[key].dtype == state[key].dtype for key in state)


@pytest.mark.parametrize("kind", ["raw", "zip", "legacy", "beside weights"])
def test_code_is_refused_and_never_runs(tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    payload, path = Payload(tmp_path / "ran"), tmp_path / "evil.pt"
    if kind == "raw":
        path.write_bytes(pickle.dumps(payload))
    elif kind == "beside weights":
        torch.save({"state_dict": STATE, "hparams": payload}, path)
    else:
        torch.save(payload, path, _use_new_zipfile_serialization=kind == "zip")
    with pytest.raises(CheckpointError, match=r"`evil.pt` was refused.*Nothing of it\s+was run.*model.state_dict"):
        _read(path)
    assert not (tmp_path / "ran").exists()
    if kind != "raw":
        with pytest.raises(CheckpointError, match=r"asks for `posix.system`"):
            _read(path)
        torch.load(path, weights_only=False)
        assert (tmp_path / "ran").exists(), "the payload is a dud: this test proves nothing"


def test_whole_modules_and_numpy_objects_are_refused_with_the_name(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "module.pt")
    with pytest.raises(CheckpointError, match=r"asks for `torch.nn.modules.linear.Linear`"):
        _read(tmp_path / "module.pt")
    torch.save({"w": np.ones(3)}, tmp_path / "numpy.pt")
    with pytest.raises(CheckpointError, match=r"asks for `numpy"):
        _read(tmp_path / "numpy.pt")


def test_torchscript_and_other_zips_are_refused(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("net/constants.pkl", b"x")
        archive.writestr("net/data.pkl", b"x")
    with pytest.raises(CheckpointError, match="TorchScript program"):
        _read(tmp_path / "script.pt")
    np.savez(tmp_path / "arrays.npz", a=np.ones(3))
    with pytest.raises(CheckpointError, match=r"no data\.pkl"):
        _read(tmp_path / "arrays.npz")


def _bomb(path: Path, megabytes: int) -> None:
    buffer = io.BytesIO()
    torch.save({"fc.weight": torch.zeros(megabytes << 18)}, buffer)
    with zipfile.ZipFile(buffer) as source, zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as target:
        for entry in source.infolist():
            target.writestr(entry.filename, source.read(entry))


def test_zip_bomb_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    path = tmp_path / "bomb.pt"
    _bomb(path, 24)
    assert path.stat().st_size < 1 << 20
    assert torch.load(path, weights_only=True)["fc.weight"].numel() == 24 << 18, "weights_only alone lets it through"
    with pytest.raises(CheckpointError, match=r"is a zip bomb: [\d,]+ bytes in \d+ entries unpack to 25,1"):
        _read(path)
    with pytest.raises(CheckpointError, match=r"unpacks to 25,1[\d,]+ bytes, the limit is 1,000,000"):
        _read(path, max_bytes=1_000_000)


def test_zip_with_a_lying_directory_of_a_terabyte_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "huge.pt"
    torch.save(STATE, path)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("archive/data/9", b"0")
        archive.infolist()[-1].file_size = 1 << 40
        archive._didModify = True  # type: ignore[attr-defined]
    tracemalloc.start()
    with pytest.raises(CheckpointError, match=r"unpacks to 1,099,511,[\d,]+ bytes"):
        _read(path)
    assert tracemalloc.get_traced_memory()[1] < 10 << 20
    tracemalloc.stop()


class _Storage:
    """Stands for a storage of so many float32 in a pickle of torch's."""

    def __init__(self, numel: int, key: str = "0") -> None:
        self.identity = ("storage", torch.FloatStorage, key, "cpu", numel)


class _Tensor:
    def __init__(self, storage: _Storage, shape: tuple[int, ...], stride: tuple[int, ...]) -> None:
        self.parts = (storage, 0, shape, stride, False, OrderedDict())

    def __reduce__(self) -> tuple[Any, ...]:
        return torch._utils._rebuild_tensor_v2, self.parts


def _pickled(value: Any, *, legacy: bool) -> bytes:
    class Pickler(pickle.Pickler):
        def persistent_id(self, item: Any) -> Any:
            if isinstance(item, _Storage):
                return (*item.identity, None) if legacy else item.identity
            return None

    buffer = io.BytesIO()
    Pickler(buffer, 2).dump(value)
    return buffer.getvalue()


def _handmade(path: Path, value: Any, *, legacy: bool, data: bytes) -> None:
    index = _pickled(value, legacy=legacy)
    if legacy:
        system = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}
        parts = [0x1950A86A20F9469CFC6C, 1001, system]
        head = b"".join(pickle.dumps(part, 2) for part in parts)
        size = (len(data) // 4).to_bytes(8, "little")
        path.write_bytes(head + index + pickle.dumps(["0"], 2) + size + data)
        return
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in (("data.pkl", index), ("version", b"3\n"), ("data/0", data)):
            archive.writestr(f"archive/{name}", content)


@pytest.mark.parametrize("legacy", [True, False])
def test_handmade_files_are_real_ones(tmp_path: Path, legacy: bool) -> None:
    data = np.arange(4, dtype="<f4").tobytes()
    _handmade(tmp_path / "w.pt", {"w": _Tensor(_Storage(4), (2, 2), (2, 1))}, legacy=legacy, data=data)
    assert _read(tmp_path / "w.pt")["w"].tolist() == [[0, 1], [2, 3]]


@pytest.mark.parametrize("legacy", [True, False])
@pytest.mark.parametrize("numel", [1 << 20, 1 << 31, 1 << 50, -1])
def test_storages_beyond_the_file_are_refused(tmp_path: Path, legacy: bool, numel: int) -> None:
    tensor = _Tensor(_Storage(numel), (max(numel, 1),), (1,))
    _handmade(tmp_path / "w.pt", {"w": tensor}, legacy=legacy, data=b"\0" * 16)
    with pytest.raises(CheckpointError, match=r"declares more than|cannot be read as weights|claims"):
        _read(tmp_path / "w.pt")


def test_many_small_storages_add_up(tmp_path: Path) -> None:
    value = {f"w{i}": _Tensor(_Storage(4000, str(i)), (4000,), (1,)) for i in range(500)}
    _handmade(tmp_path / "w.pt", value, legacy=True, data=b"\0" * 16)
    with pytest.raises(CheckpointError, match=r"declares more than [\d,]+ bytes of tensors and can hold"):
        _read(tmp_path / "w.pt")


@pytest.mark.parametrize("legacy", [True, False])
def test_a_small_storage_shown_as_a_giant_tensor_is_refused(tmp_path: Path, legacy: bool) -> None:
    giant = _Tensor(_Storage(4), (1 << 20, 1 << 20), (0, 0))
    _handmade(tmp_path / "w.pt", {"w": giant}, legacy=legacy, data=b"\0" * 16)
    with pytest.raises(CheckpointError, match=r"w of shape \(1048576, 1048576\) claims 4,398,046,511,104 bytes"):
        _read(tmp_path / "w.pt")


@pytest.mark.parametrize("legacy", [True, False])
def test_a_tensor_larger_than_its_storage_is_refused(tmp_path: Path, legacy: bool) -> None:
    _handmade(tmp_path / "w.pt", {"w": _Tensor(_Storage(4), (1 << 22,), (1,))}, legacy=legacy, data=b"\0" * 16)
    with pytest.raises(CheckpointError, match=r"claims|cannot be read as weights|declares more"):
        _read(tmp_path / "w.pt")


@pytest.mark.parametrize("as_zip", [ZIP, LEGACY])
def test_every_truncation_is_a_clear_error(tmp_path: Path, as_zip: bool) -> None:
    buffer, path = io.BytesIO(), tmp_path / "cut.pt"
    torch.save(STATE, buffer, _use_new_zipfile_serialization=as_zip)
    content = buffer.getvalue()
    for length in [*range(0, len(content) - 1, max(1, len(content) // 60)), len(content) - 1]:
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.pt"):
            _read(path)


@pytest.mark.parametrize("as_zip", [ZIP, LEGACY])
def test_flipped_bytes_never_raise_anything_else(tmp_path: Path, as_zip: bool) -> None:
    buffer, path, draw = io.BytesIO(), tmp_path / "flip.pt", np.random.default_rng(5)
    torch.save({"state_dict": STATE, "epoch": 3}, buffer, _use_new_zipfile_serialization=as_zip)
    refused = 0
    for _ in range(120):
        content = bytearray(buffer.getvalue())
        for place in draw.integers(0, len(content), 3):
            content[place] = draw.integers(256)
        path.write_bytes(content)
        try:
            _read(path)
        except CheckpointError:
            refused += 1
    assert refused > 0
