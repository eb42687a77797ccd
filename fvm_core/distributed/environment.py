"""What the launcher says in the environment: which of how many workers this process is. No torch here."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass

from fvm_core.errors import SettingsError

SHARED = ("tune", "score")
"""Commands that several workers can do together."""
TIMEOUT = "FVM_STUDIO_WORKER_TIMEOUT"
SECONDS = 600


@dataclass(frozen=True)
class Launch:
    """`rank` of `size` workers, `local_rank` among those of this machine (its GPU). `timeout` in seconds: so long may a
    worker be silent before the others give up."""

    rank: int
    size: int
    local_rank: int = 0
    timeout: int = SECONDS


def launched(environment: Mapping[str, str] | None = None) -> Launch | None:
    """Return what torchrun says, None where this process was started without it.

    RANK and WORLD_SIZE tell; LOCAL_RANK is 0 where nobody sets it (a Kubernetes PyTorchJob of one process a pod).
    `FVM_STUDIO_WORKER_TIMEOUT` sets the timeout, 600 seconds without it.

    Raises:
        SettingsError: a value is no whole number, or RANK is not below WORLD_SIZE.

    >>> launched({"RANK": "1", "WORLD_SIZE": "2"})
    Launch(rank=1, size=2, local_rank=0, timeout=600)
    """
    values = os.environ if environment is None else environment
    if "RANK" not in values or "WORLD_SIZE" not in values:
        return None
    size = _number(values, "WORLD_SIZE", 1, least=1)
    rank = _number(values, "RANK", 0, least=0)
    if rank >= size:
        raise SettingsError(f"`RANK` must be < WORLD_SIZE = {size}, got {rank}. Let torchrun set both.")
    return Launch(rank, size, _number(values, "LOCAL_RANK", 0, least=0), _number(values, TIMEOUT, SECONDS, least=1))


def check_command(command: str) -> None:
    """Refuse to do in several processes at once what is the work of one.

    Raises:
        SettingsError: more than one worker, and a command that is not in SHARED.
    """
    found = launched()
    if found is not None and found.size > 1 and command not in SHARED:
        raise SettingsError(
            f"`{command or 'help'}` is the work of one process, got WORLD_SIZE = {found.size}. Start it without "
            f"torchrun; {' and '.join(f'`{name}`' for name in SHARED)} can be shared."
        )


def _number(values: Mapping[str, str], name: str, default: int, *, least: int) -> int:
    text = values.get(name) or str(default)
    if not text.isdecimal() or int(text) < least:
        raise SettingsError(f"`{name}` must be a whole number >= {least}, got {text!r}. Let torchrun set it.")
    return int(text)
