"""Files of `torch.save`, read with `weights_only=True` and nothing else: code in them is refused, never run."""

from __future__ import annotations

import pickle
import re
import warnings
import zipfile
from pathlib import Path
from typing import Any

import torch

from fvm_core.errors import CheckpointError

MAX_INDEX_BYTES = 64 << 20
MAX_RATIO = 8
MAX_ENTRIES = 200_000
REMEDY = (
    "In the program that made it, save the weights alone: `torch.save(model.state_dict(), path)`, or as safetensors."
)


def read_torch_file(path: Path, *, max_bytes: int) -> Any:
    """Return the object in a .pt or .pth file, tensors on the CPU.

    Both formats of `torch.save` are read: the zip (since 1.6) and the older stream of pickles. Before anything is
    loaded the zip's central directory is added up; while loading, every storage is counted against what the file can
    hold. The environment cannot switch `weights_only` off, as it is passed.

    Raises:
        CheckpointError: truncated, code or objects beyond tensors and plain containers inside, a zip bomb, more than
            `max_bytes` unpacked.
    """
    with open(path, "rb") as file:
        is_zip = file.read(4) == b"PK\x03\x04"
    budget = _check_zip(path, max_bytes) if is_zip else path.stat().st_size
    counter = _StorageCounter(path, budget)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # about pickle protocols: the result is checked instead
            return torch.load(path, map_location=counter, weights_only=True)
    except CheckpointError:
        raise
    except pickle.UnpicklingError as error:
        raise _refusal(path, error) from error
    except Exception as error:  # a damaged or hostile file makes the reader raise nearly anything
        raise CheckpointError(
            f"`{path.name}` cannot be read as weights: it is truncated, damaged or not from `torch.save` "
            f"({type(error).__name__}: {_first_line(error)}). Copy or download it again. {REMEDY}"
        ) from error


class _StorageCounter:
    """Called by torch for every storage it makes, before its pages are touched. Stops when they exceed the file."""

    def __init__(self, path: Path, budget: int) -> None:
        self.path, self.budget, self.total = path, budget, 0

    def __call__(self, storage: Any, location: str) -> Any:
        self.total += storage.nbytes()
        if self.total > self.budget:
            raise CheckpointError(
                f"`{self.path.name}` declares more than {self.total:,} bytes of tensors and can hold {self.budget:,}: "
                "it is damaged or made to fill the memory. Do not use it."
            )
        return storage


def _check_zip(path: Path, max_bytes: int) -> int:
    """Return the total unpacked size in bytes, from the central directory alone; raise where it is out of bounds."""
    try:
        with zipfile.ZipFile(path) as archive:
            entries = archive.infolist()
    except (zipfile.BadZipFile, NotImplementedError, ValueError, OSError) as error:
        raise CheckpointError(
            f"`{path.name}` is truncated or damaged: its end is missing ({error}). Copy or download it again."
        ) from error
    total, size = sum(entry.file_size for entry in entries), path.stat().st_size
    if total > max_bytes:
        raise CheckpointError(f"`{path.name}` unpacks to {total:,} bytes, the limit is {max_bytes:,}. {REMEDY}")
    if total > MAX_RATIO * size or len(entries) > MAX_ENTRIES:
        raise CheckpointError(
            f"`{path.name}` is a zip bomb: {size:,} bytes in {len(entries):,} entries unpack to {total:,}; "
            "`torch.save` does not compress. Do not use it."
        )
    names = {entry.filename.rpartition("/")[2]: entry for entry in entries}
    if "constants.pkl" in names:
        raise CheckpointError(f"`{path.name}` is a TorchScript program (torch.jit.save), which holds code. {REMEDY}")
    if "data.pkl" not in names:
        raise CheckpointError(f"`{path.name}` is a zip but not from `torch.save`: it has no data.pkl. {REMEDY}")
    if names["data.pkl"].file_size > MAX_INDEX_BYTES:
        raise CheckpointError(
            f"the index of `{path.name}` is {names['data.pkl'].file_size:,} bytes, at most {MAX_INDEX_BYTES:,} are "
            f"read. {REMEDY}"
        )
    return total


def _refusal(path: Path, error: pickle.UnpicklingError) -> CheckpointError:
    found = re.search(r"GLOBAL\s+([\w.]+)", str(error))
    if found:
        return CheckpointError(
            f"`{path.name}` was refused: it asks for `{found.group(1)}`, which is code and not weights. Nothing of it "
            f"was run. {REMEDY}"
        )
    return CheckpointError(
        f"`{path.name}` was refused: it holds more than tensors, numbers and text ({_reason(error)}). Nothing of it "
        f"was run. {REMEDY}"
    )


def _reason(error: pickle.UnpicklingError) -> str:
    found = re.search(r"WeightsUnpickler error: *([^\n]+)", str(error))
    return found.group(1)[:200] if found else _first_line(error)


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or ["no reason given"])[0][:200]
