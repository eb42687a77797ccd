"""Other forward passes for some layers of a model, for the time of a block."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

from torch import Tensor, nn


@contextmanager
def other_forwards(given: Iterable[tuple[nn.Module, Callable[..., Tensor]]]) -> Iterator[None]:
    """Let each module run as the function beside it; after the block, or an error in it, all are as they were."""
    changed: list[Any] = []
    try:
        for module, forward in given:
            module.forward = forward
            changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward
