"""The resumable state of a job: one file, written whole or not at all, read without running any pickle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fvm_core.errors import JobError, StorageError
from fvm_core.files import atomic_write


def check_state(value: Any, where: str = "state") -> None:
    """Refuse what a load with `weights_only=True` would refuse, at the time of saving.

    Raises:
        TypeError: something else than tensors, numbers, strings, bytes, None, and lists, tuples, dicts of them.

    >>> check_state({"step": 3, "order": [1, 2]})
    >>> check_state({"path": Path("x")})
    Traceback (most recent call last):
    TypeError: `state['path']` must be a tensor, number, string, list, tuple or dict, got PosixPath
    """
    if value is None or type(value) in (bool, int, float, str, bytes):
        return
    if isinstance(value, dict):
        for key, item in value.items():
            if type(key) not in (str, int, bool, float):
                raise TypeError(f"`{where}` must have keys that are strings or numbers, got {type(key).__name__}")
            check_state(item, f"{where}[{key!r}]")
        return
    if type(value) in (list, tuple):
        for index, item in enumerate(value):
            check_state(item, f"{where}[{index}]")
        return
    import torch

    if not isinstance(value, torch.Tensor):
        raise TypeError(f"`{where}` must be a tensor, number, string, list, tuple or dict, got {type(value).__name__}")


def write_state(path: Path, state: dict[str, Any]) -> None:
    """Save `state` to a temporary name beside `path`, then rename it onto `path`.

    Raises:
        StorageError: the disk refused; the earlier state is untouched.
        TypeError: see `check_state`.
    """
    import torch

    check_state(state)
    try:
        with atomic_write(path) as file:
            torch.save(state, file)
    except RuntimeError as error:
        if "PytorchStreamWriter" not in str(error) and "unexpected pos" not in str(error):
            raise
        raise StorageError(
            f"`{path}` could not be written ({str(error).splitlines()[0]}); the earlier state is untouched. "
            "Free disk space, then resume the job."
        ) from error


def read_state(path: Path) -> dict[str, Any] | None:
    """Return the state with its tensors on the CPU, or None if none was kept yet.

    Raises:
        JobError: the file is damaged or holds more than data.
    """
    if not path.exists():
        return None
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise JobError(
            f"`{path}` cannot be read as a job's state ({type(error).__name__}). Delete the job and start it anew."
        ) from error
    if not isinstance(state, dict):
        raise JobError(f"`{path}` must hold a dict, got {type(state).__name__}. Delete the job and start it anew.")
    return state
