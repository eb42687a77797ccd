"""The state of a job is kept whole, read safely, and bounded to plain data."""

from __future__ import annotations

import pickle
import resource
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from fvm_core.errors import JobError, StorageError
from fvm_core.jobs.paths import inside
from fvm_core.jobs.state import check_state, read_state, write_state


@pytest.fixture
def small_files() -> Iterator[None]:
    """The kernel refuses to grow any file beyond 64 KiB, as a full disk would."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (65536, before[1]))
    yield
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_state_comes_back_bit_by_bit(tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(7)
    state: dict[Any, Any] = {
        "model": {"w": torch.randn(3, 4), "half": torch.randn(5).bfloat16(), "n": torch.tensor(3)},
        "random": generator.get_state(),
        "step": 5, "lr": 0.1, "name": "x", "flag": True, "none": None, "list": [1, (2.5, "y")], 7: "key",
    }  # fmt: skip
    assert read_state(tmp_path / "state.pt") is None
    write_state(tmp_path / "state.pt", state)
    back = read_state(tmp_path / "state.pt")
    assert back is not None and list(back) == list(state)
    for name, tensor in state["model"].items():
        assert back["model"][name].dtype == tensor.dtype and torch.equal(back["model"][name], tensor)
    assert torch.equal(back["random"], state["random"])
    assert {key: back[key] for key in state if key not in ("model", "random")} == {
        key: value for key, value in state.items() if key not in ("model", "random")
    }


def test_full_disk_keeps_the_earlier_state(tmp_path: Path, small_files: None) -> None:
    path = tmp_path / "state.pt"
    write_state(path, {"step": 1})
    with pytest.raises(StorageError, match=r"state\.pt` could not be written .* untouched"):
        write_state(path, {"step": 2, "w": torch.zeros(100_000)})
    assert read_state(path) == {"step": 1}
    assert [item.name for item in tmp_path.iterdir()] == ["state.pt"]


@pytest.mark.parametrize(
    ("state", "message"),
    [
        ({"a": {"b": [Path("x")]}}, r"`state\['a'\]\['b'\]\[0\]` must be a tensor, .*got PosixPath"),
        ({"a": {1, 2}}, r"`state\['a'\]` must be .*got set"),
        ({"a": torch.zeros(1).numpy()}, r"got ndarray"),
        ({("a", 1): 2}, r"`state` must have keys that are strings or numbers, got tuple"),
    ],
)
def test_state_refuses_at_once_what_could_not_be_read_back(state: dict[Any, Any], message: str) -> None:
    with pytest.raises(TypeError, match=message):
        check_state(state)


class Malicious:
    def __reduce__(self) -> tuple[Any, ...]:
        return Path.touch, (Path("/tmp/fvm-should-not-exist"),)


@pytest.mark.parametrize("kind", ["pickle", "torch", "cut", "text"])
def test_damaged_or_malicious_state_is_refused(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "state.pt"
    if kind == "pickle":
        path.write_bytes(pickle.dumps(Malicious()))
    elif kind == "torch":
        torch.save({"x": Malicious()}, path)
    else:
        write_state(path, {"w": torch.zeros(1000)})
        path.write_bytes(path.read_bytes()[:2000] if kind == "cut" else b"hello")
    with pytest.raises(JobError, match=r"cannot be read as a job's state .*start it anew"):
        read_state(path)
    assert not Path("/tmp/fvm-should-not-exist").exists()


def test_state_that_is_no_dict_is_refused(tmp_path: Path) -> None:
    torch.save([1], tmp_path / "state.pt")
    with pytest.raises(JobError, match="must hold a dict, got list"):
        read_state(tmp_path / "state.pt")


def test_inside_makes_parents_and_refuses_to_leave(tmp_path: Path) -> None:
    assert inside(tmp_path, "a", "b", "c.bin").parent.is_dir()
    (tmp_path / "out").symlink_to("/tmp")
    for parts in (("..", "x"), ("/etc/passwd",), ("a", "../../x"), ("out", "x")):
        with pytest.raises(JobError, match="must stay inside the job's folder"):
            inside(tmp_path, *parts)
