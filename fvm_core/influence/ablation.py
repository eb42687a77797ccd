"""The halves of the paper's form, each with a diagonal Fisher in the place of its Hessian (Table 6)."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.influence.flat import inverse_fisher


def first_order_direction(
    gradient: Mapping[str, Tensor], fisher: Mapping[str, Tensor], *, damping: float
) -> dict[str, Tensor]:
    """Return {parameter: g_val / (F + damping)}: its product with g_z is the loss change to first order.

    **Low (negative) = likely mislabeled.** F of the training set is the parameter change of the standard influence, F
    of the validation set that of the paper.

    Raises:
        SettingsError: see `inverse_fisher`.
    """
    inverse = inverse_fisher(fisher, damping=damping, dtype=torch.float64)
    return {name: (value * inverse[name]).to(value.dtype) for name, value in gradient.items()}


def second_order_weights(
    validation: Mapping[str, Tensor],
    training: Mapping[str, Tensor],
    *,
    damping: float,
    dtype: torch.dtype = torch.float32,
) -> dict[str, Tensor]:
    """Return {parameter: F_val / (F_tr + damping)^2} in `dtype`, weights of the squared gradients: the loss change to
    second order, by the standard influence's parameter change. **Large = likely mislabeled.**

    Raises:
        SettingsError: see `inverse_fisher`; or a weight overflows `dtype`.
    """
    inverse = inverse_fisher(training, damping=damping, dtype=torch.float64)
    weights = {name: (validation[name].double() * value.square()).to(dtype) for name, value in inverse.items()}
    for name, weight in weights.items():
        if not bool(torch.isfinite(weight).all()):
            raise SettingsError(
                f"`damping` must be large enough for F_val / (F_tr + damping)^2 of `{name}` to be finite, got "
                f"{damping!r}: the training Fisher is nearly 0 where the validation Fisher is not. Raise `damping`."
            )
    return weights
