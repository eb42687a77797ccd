"""What was made from tensors, kept for as long as they stay the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Generic, TypeVar

from torch import Tensor

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last thing made under each key. The tensors themselves are compared, as an address may be used again, and
    their storage and version; a change through `.data` that leaves both is not seen."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[tuple[Tensor, ...], list[tuple[int, int]], T]] = {}

    def get(self, key: Hashable, tensors: Sequence[Tensor], make: Callable[[], T]) -> T:
        """Return what `make()` gave for these tensors, called again only where one is another or has changed."""
        state = [(value.data_ptr(), value._version) for value in tensors]
        kept = self._kept.get(key)
        if kept is None or kept[1] != state or any(a is not b for a, b in zip(kept[0], tensors, strict=True)):
            kept = self._kept[key] = tuple(tensors), state, make()
        return kept[2]
