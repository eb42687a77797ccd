"""s = g^T H^-1 g from random vectors: the mean of (g . H^-1 V)(V . g) over V ~ N(0, I) (C.4, Table 13)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor, nn

from fvm_core.errors import SettingsError
from fvm_core.influence.standard import standard_scores

Direction = Mapping[str, Tensor]


def random_vector(model: nn.Module, *, seed: int, draw: int) -> dict[str, Tensor]:
    """Return {parameter: standard normal tensor of its shape}, a pure function of the shapes, `seed` and `draw`."""
    generator = torch.Generator().manual_seed((1_000_003 * seed + draw) % 2**63)
    return {
        name: torch.randn(value.shape, generator=generator, dtype=torch.float32).to(value)
        for name, value in model.named_parameters()
    }


def random_vector_scores(model: nn.Module, x: Tensor, pairs: Sequence[tuple[Direction, Direction]]) -> Tensor:
    """Return (b, c) float64: the mean over `pairs` (V, H^-1 V) of (g . H^-1 V)(V . g), for every label k of g_(x, k).

    **Large = likely mislabeled.** Its expectation over V is s = g^T H^-1 g; a single estimate may be negative: with a
    symmetric H^-1 of n pairs its variance is (|g|^2 |H^-1 g|^2 + s^2) / n. Cost: two forward-mode passes a pair.

    Raises:
        SettingsError: no pair.
    """
    if not pairs:
        raise SettingsError("`random_vectors` must be >= 1, got 0.")
    total: Tensor | float = 0.0
    for vector, solved in pairs:
        total = total + standard_scores(model, x, solved)[0] * standard_scores(model, x, vector)[0]
    assert isinstance(total, Tensor)
    return total / len(pairs)
