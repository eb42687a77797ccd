"""What was made from tensors, kept for as long as they stay the same."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Generic, TypeVar

import torch
from torch import Tensor

T = TypeVar("T")


class Remembered(Generic[T]):
    """The last thing made under each key. The tensors themselves are compared, as an address may be used again, and
    their storage and version. Fused optimizers and `.data` leave both as they are: `contents` tells such tensors apart.
    """

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[tuple[Tensor, ...], list[object], T]] = {}

    def get(
        self, key: Hashable, tensors: Sequence[Tensor], make: Callable[[], T], *, contents: Sequence[float] = ()
    ) -> T:
        """Return what `make()` gave for these tensors, called again only where one is another or has changed."""
        state: list[object] = [(value.data_ptr(), _version(value)) for value in tensors]
        state += contents
        kept = self._kept.get(key)
        if kept is None or kept[1] != state or any(a is not b for a, b in zip(kept[0], tensors, strict=True)):
            kept = self._kept[key] = tuple(tensors), state, make()
        return kept[2]


def contents(groups: Mapping[str, Sequence[Tensor]]) -> dict[str, list[float]]:
    """Return the sums of the tensors of each group, read from the device at once: they tell of any change but one that
    leaves every sum as it was."""
    sums = [value.detach().sum() for group in groups.values() for value in group]
    values = iter(torch.stack(sums).tolist() if sums else [])
    return {name: [next(values) for _ in group] for name, group in groups.items()}


def _version(value: Tensor) -> int:
    return -1 if value.is_inference() else value._version
