"""Which weights a folder holds, told without reading all of them. No torch here."""

from __future__ import annotations

import hashlib
from pathlib import Path

from fvm_core.errors import CheckpointError

PIECE = 1 << 20


def folder_identity(folder: Path | str) -> str:
    """Return a hash (hex) over each *.safetensors file below `folder`: its relative name and size, and its first,
    middle and last MiB. So 26 GB are told apart in a moment; training anew changes all of these pieces.

    Raises:
        CheckpointError: there is no such file, or one cannot be read.
    """
    folder = Path(folder)
    paths = sorted(folder.rglob("*.safetensors"))
    if not paths:
        raise CheckpointError(
            f"`{folder}` must hold its weights as *.safetensors, but has none. Convert the weights: pickled files "
            "(.bin, .pt) can run code and are not read."
        )
    digest = hashlib.sha256()
    try:
        for path in paths:
            size = path.stat().st_size
            digest.update(f"{path.relative_to(folder).as_posix()} {size}\n".encode())
            with path.open("rb") as file:
                for start in (0, max(size // 2 - PIECE // 2, 0), max(size - PIECE, 0)):
                    file.seek(start)
                    digest.update(file.read(PIECE))
    except OSError as error:
        raise CheckpointError(f"the weights in `{folder}` cannot be read ({error}). Copy them again.") from error
    return digest.hexdigest()
