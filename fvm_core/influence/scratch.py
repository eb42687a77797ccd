"""Memory used again and again: fresh pages from the system cost more than the arithmetic that fills them."""

from __future__ import annotations

import math

import torch
from torch import Tensor


class Scratch:
    """Named pieces of memory, each as large as the largest tensor asked for, of any dtype; they are overwritten."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, torch.device], Tensor] = {}

    def room(self, name: str, shape: tuple[int, ...], like: Tensor) -> Tensor:
        """Return an uninitialised contiguous tensor of `shape`, with the dtype and device of `like`."""
        size = math.prod(shape) * like.element_size()
        held = self._held.get((name, like.device))
        if held is None or held.numel() < size:
            held = self._held[name, like.device] = torch.empty(size, dtype=torch.uint8, device=like.device)
        return held[:size].view(like.dtype).view(shape)

    def copied(self, name: str, view: Tensor) -> Tensor:
        """Return a contiguous copy of `view`, or itself where it is contiguous."""
        return view if view.is_contiguous() else self.room(name, tuple(view.shape), view).copy_(view)
