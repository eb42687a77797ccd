"""Memory that runs out, said in words: what was too large, and which setting makes it smaller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch

from fvm_core.errors import SettingsError


@contextmanager
def told_when_full(remedy: str) -> Iterator[None]:
    """Turn an allocation that a GPU or the machine refuses, inside the block, into an error that names the `remedy`.

    Raises:
        SettingsError: memory ran out.
    """
    try:
        yield
    except (MemoryError, RuntimeError) as error:
        gpu = isinstance(error, torch.OutOfMemoryError)
        if not (gpu or isinstance(error, MemoryError) or "allocate memory" in str(error)):
            raise
        where = "the GPU's memory" if gpu else "the machine's memory"
        raise SettingsError(f"{where} must hold the model and one batch, but ran out. Lower {remedy}.") from error
