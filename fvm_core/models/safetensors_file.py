"""Safetensors files: sizes are checked before memory is taken; they cannot hold code."""

from __future__ import annotations

from pathlib import Path

import safetensors
import safetensors.torch
from torch import Tensor

from fvm_core.errors import CheckpointError

MAX_HEADER_BYTES = 16 << 20


def looks_like_safetensors(head: bytes) -> bool:
    """Tell from a file's first 16 bytes whether a header length and the start of a JSON object are there."""
    return len(head) >= 9 and head[8:9] == b"{" and int.from_bytes(head[:8], "little") < 1 << 40


def read_safetensors(path: Path) -> dict[str, Tensor]:
    """Return the tensors by name. The memory taken is at most the file's size: nothing in it is compressed.

    Raises:
        CheckpointError: truncated, or a header that is too long, malformed, or disagrees with the file's size.
    """
    check_header(path)
    try:
        return safetensors.torch.load_file(path)
    except (safetensors.SafetensorError, RuntimeError, ValueError, KeyError, TypeError) as error:
        raise CheckpointError(
            f"`{path.name}` is not a whole safetensors file ({error}). Copy or download it again."
        ) from error


def read_metadata(path: Path) -> dict[str, str]:
    """Return the free text pairs of a safetensors file's header, {} when there are none.

    Raises:
        CheckpointError: as `read_safetensors`.
    """
    check_header(path)
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except safetensors.SafetensorError as error:
        raise CheckpointError(
            f"`{path.name}` is not a whole safetensors file ({error}). Copy or download it again."
        ) from error


def check_header(path: Path) -> None:
    """Check the header's declared length against the file and against MAX_HEADER_BYTES, reading 8 bytes.

    Raises:
        CheckpointError: it is longer than either.
    """
    size = path.stat().st_size
    with open(path, "rb") as file:
        length = int.from_bytes(file.read(8), "little")
    if length > size - 8:
        raise CheckpointError(
            f"`{path.name}` is truncated or damaged: its header is said to be {length:,} bytes long, the file has "
            f"{size:,}. Copy or download it again."
        )
    if length > MAX_HEADER_BYTES:
        raise CheckpointError(
            f"the header of `{path.name}` is {length:,} bytes long, at most {MAX_HEADER_BYTES:,} are read. "
            "Save only the model's own weights."
        )
