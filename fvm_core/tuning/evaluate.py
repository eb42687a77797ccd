"""Loss and accuracy of a model as it is, in eval mode."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

Fetch = Callable[[NDArray[np.int64]], tuple[Tensor, Tensor]]


@contextmanager
def eval_mode(model: nn.Module) -> Iterator[None]:
    """Put `model` into eval mode (BatchNorm with running statistics, no dropout); every module's mode comes back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        yield
    finally:
        for module in training:
            module.training = True


def evaluate(
    model: nn.Module, fetch: Fetch, positions: NDArray[np.int64], *, batch_size: int = 256
) -> tuple[float, float]:
    """Return (mean cross-entropy in nats, accuracy in [0, 1]) over `positions`, fp32, in eval mode, no gradients."""
    loss, correct = 0.0, 0
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(positions), batch_size):
            x, y = fetch(positions[start : start + batch_size])
            logits = model(x)
            loss += float(F.cross_entropy(logits, y, reduction="sum"))
            correct += int((logits.argmax(1) == y).sum())
    return loss / len(positions), correct / len(positions)
