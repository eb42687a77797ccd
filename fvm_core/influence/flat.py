"""The score at a flat validation minimum: s(z) = g_z^T (F_val + d)^-1 g_z (Eq. 21, 25 without its minus)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.fisher import Batches, fisher_diagonal
from fvm_core.influence.per_sample import SquaredGradients


def inverse_fisher(
    fisher: Mapping[str, Tensor], *, damping: float, dtype: torch.dtype = torch.float32
) -> dict[str, Tensor]:
    """Return {parameter: 1 / (F + damping)} in `dtype`: the weights of the squared gradients.

    Raises:
        DataError: F is not finite.
        SettingsError: `damping` < 0, or too small where F is 0.

    >>> inverse_fisher({"w": torch.tensor([1.0, 0.0])}, damping=1.0)["w"]
    tensor([0.5000, 1.0000])
    """
    if damping < 0:
        raise SettingsError(f"`damping` must be >= 0, got {damping!r}.")
    weights = {}
    for name, value in fisher.items():
        if not bool(torch.isfinite(value).all()):
            raise DataError(
                f"the Fisher of `{name}` is not finite: the model's outputs or gradients overflow. Check the model's "
                "normalisation, or use another checkpoint."
            )
        inverse = (1.0 / (value.double() + damping)).to(dtype)
        bad = int((~torch.isfinite(inverse)).sum())
        if bad:
            raise SettingsError(
                f"`damping` must be > 0 here, got {damping!r}: the Fisher of `{name}` is 0 at {bad} of "
                f"{value.numel()} entries (no sample moves them). Use 1e-8, say."
            )
        weights[name] = inverse
    return weights


def flat_scores(model: nn.Module, x: Tensor, y: Tensor, validation: Batches, *, damping: float = 1e-8) -> Tensor:
    """Return s (b,) float64 >= 0 for samples x (b, ...) with labels y (b,). **Large = likely mislabeled.**

    The short way for a few samples; the scoring job makes the Fisher once and streams.
    """
    engine = SquaredGradients(model, x)
    dtype = torch.promote_types(next(model.parameters()).dtype, torch.float32)
    weights = inverse_fisher(fisher_diagonal(model, validation, engine=engine), damping=damping, dtype=dtype)
    return engine.scores(x, y, weights)[0]
