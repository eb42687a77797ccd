"""Honest, damaged and hostile safetensors files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.torch
import torch

from fvm_core.errors import CheckpointError
from fvm_core.models.checkpoint import read_state
from fvm_core.models.safetensors_file import MAX_HEADER_BYTES, read_metadata

STATE = {"fc.weight": torch.arange(6.0).view(2, 3), "steps": torch.tensor(7), "half": torch.ones(3).bfloat16()}


def _write(path: Path, header: dict[str, Any], data: bytes = b"") -> Path:
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + data)
    return path


def test_honest_files_come_back_bit_for_bit(tmp_path: Path) -> None:
    safetensors.torch.save_file(STATE, tmp_path / "w.bin", metadata={"note": "hello"})
    found = read_state(tmp_path / "w.bin")
    assert found.keys() == STATE.keys()
    assert all(torch.equal(found[key], STATE[key]) and found[key].dtype == STATE[key].dtype for key in STATE)
    assert read_metadata(tmp_path / "w.bin") == {"note": "hello"}


def test_handmade_file_is_a_real_one(tmp_path: Path) -> None:
    header = {"w": {"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}}
    path = _write(tmp_path / "w.safetensors", header, np.array([1, 2], "<f4").tobytes())
    assert read_state(path)["w"].tolist() == [1, 2]
    assert read_metadata(path) == {}


@pytest.mark.parametrize(
    "entry",
    [
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 1 << 42]},
        {"dtype": "F32", "shape": [1 << 40], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [1 << 62, 1 << 62], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [-2], "data_offsets": [0, 8]},
        {"dtype": "F32", "shape": [2], "data_offsets": [8, 0]},
        {"dtype": "F32", "shape": [2], "data_offsets": [4, 12]},
        {"dtype": "PICKLE", "shape": [2], "data_offsets": [0, 8]},
        {"dtype": "F32"},
        7,
    ],
)
def test_headers_that_disagree_with_the_file_are_refused(tmp_path: Path, entry: Any) -> None:
    path = _write(tmp_path / "w.safetensors", {"w": entry}, b"\0" * 8)
    with pytest.raises(CheckpointError, match=r"`w\.safetensors` is not a whole safetensors file"):
        read_state(path)


def test_header_lengths_are_checked_before_reading(tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    path.write_bytes((1 << 38).to_bytes(8, "little") + b"{}")
    with pytest.raises(CheckpointError, match=r"truncated or damaged: its header is said to be 274,877,906,944 bytes"):
        read_state(path)
    with open(path, "wb") as file:
        file.write((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{")
        file.truncate(MAX_HEADER_BYTES + 100)
    with pytest.raises(CheckpointError, match=r"the header of `w\.safetensors` is 16,777,217 bytes long"):
        read_state(path)


def test_every_truncation_is_a_clear_error(tmp_path: Path) -> None:
    content = safetensors.torch.save(STATE)
    path = tmp_path / "cut.safetensors"
    for length in range(len(content)):
        path.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=r"cut\.safetensors"):
            read_state(path)


def test_flipped_bytes_never_raise_anything_else(tmp_path: Path) -> None:
    draw, path, refused = np.random.default_rng(1), tmp_path / "flip.safetensors", 0
    for _ in range(300):
        content = bytearray(safetensors.torch.save(STATE))
        for place in draw.integers(0, len(content), 3):
            content[place] = draw.integers(256)
        path.write_bytes(content)
        try:
            read_state(path)
        except CheckpointError:
            refused += 1
    assert refused > 0
