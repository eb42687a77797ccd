"""EK-FAC: curvature that is diagonal in each layer's Kronecker eigenbasis (George et al. 2018; Grosse et al. 2023)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.eigen_rule import EigenGradients
from fvm_core.influence.kronecker import (
    LARGEST_SIDE,
    Basis,
    Batches,
    Pull,
    eigenbases,
    factored_layers,
    kronecker_factors,
)
from fvm_core.influence.per_sample import SquaredGradients


@dataclass(frozen=True)
class Ekfac:
    """`bases`: {layer: Basis}. `values`: float64 eigenvalues, the mean over samples of the squared gradient: (o, i) in
    the basis of a layer, and of its own shape for every parameter outside of the bases."""

    bases: dict[str, Basis]
    values: dict[str, Tensor]

    def damped(self, damping: float, *, dtype: torch.dtype = torch.float64) -> dict[str, Tensor]:
        """Return {layer or parameter: 1 / (L + damping * mean L)} in `dtype`, the mean over its own eigenvalues L.

        Where no sample has any gradient (all L are 0) nothing can be inverted: the weights are 0, see `still`.

        Raises:
            DataError: an eigenvalue is not finite.
            SettingsError: `damping` <= 0, or the inverse overflows.
        """
        if not damping > 0:
            raise SettingsError(f"`ekfac_damping` must be > 0, got {damping!r}.")
        weights = {}
        for name, value in self.values.items():
            mean = value.mean()
            if not bool(torch.isfinite(mean)):
                raise DataError(
                    f"the curvature of `{name}` is not finite: the model's outputs or gradients overflow. Check the "
                    "model's normalisation, or use another checkpoint."
                )
            weight = 1 / (value + damping * mean) if mean > 0 else torch.zeros_like(value)
            weights[name] = weight.to(dtype)
            if not bool(torch.isfinite(weights[name]).all()):
                raise SettingsError(
                    f"`ekfac_damping` must be large enough to invert the curvature of `{name}`, got {damping!r}: its "
                    f"eigenvalues reach from {float(value.min()):.3g} to {float(value.max()):.3g}. Raise "
                    "`ekfac_damping`."
                )
        return weights

    def still(self) -> list[str]:
        """Return the layers and parameters that no sample moves."""
        return [name for name, value in self.values.items() if not bool((value > 0).any())]

    def to_state(self) -> dict[str, Any]:
        """Return plain CPU tensors and strings, for a job's state."""
        bases = {
            layer: {"inner": basis.inner.cpu(), "outer": basis.outer.cpu(), "names": list(basis.names)}
            for layer, basis in self.bases.items()
        }
        return {"bases": bases, "values": {name: value.cpu() for name, value in self.values.items()}}

    @classmethod
    def from_state(cls, state: Mapping[str, Any], device: torch.device) -> Ekfac:
        bases = {
            layer: Basis(kept["inner"].to(device), kept["outer"].to(device), tuple(kept["names"]))
            for layer, kept in state["bases"].items()
        }
        return cls(bases, {name: value.to(device) for name, value in state["values"].items()})


def fit_ekfac(
    engine: SquaredGradients,
    batches: Callable[[], Batches],
    pull: Pull,
    *,
    progress: Callable[[int], None] | None = None,
    turning: Callable[[str], None] | None = None,
) -> Ekfac:
    """Return EK-FAC of the model on `batches()`, which is gone through twice: for the bases, and for the eigenvalues.

    `pull(logits, y)` decides the curvature: `RandomSigns(seed)` gives the Gauss-Newton Hessian (for cross-entropy the
    Fisher information), residuals of y the empirical Fisher. Linear layers and ungrouped convolutions have a basis,
    with the bias as one more input; all other parameters their own diagonal. `progress` is told the samples of both
    passes so far, `turning` each layer before its eigendecomposition. Cost: two forward and backward passes a sample,
    i^2 + t (i + o) o operations a sample and layer beside them. Memory: see `kronecker_factors`.

    Raises:
        DataError: no sample, or factors that are not finite.
    """
    layers = factored_layers(engine)
    seen = 0

    def told(done: int) -> None:
        nonlocal seen
        seen = done
        if progress:
            progress(done)

    factors = kronecker_factors(engine, batches(), pull, progress=told) if layers else {}
    dtype = next(engine.model.parameters()).dtype
    bases = eigenbases(factors, layers, dtype=dtype, progress=turning)
    turned = EigenGradients(engine, bases)
    device = next(engine.model.parameters()).device
    totals = {name: torch.zeros(shape, dtype=torch.float64, device=device) for name, shape in turned.shapes().items()}
    count, before = 0, seen
    for x, y in batches():
        turned.pulled_sums(x, lambda logits, y=y: pull(logits, y), totals)  # type: ignore[misc]
        count += len(x)
        if progress:
            progress(before + count)
    return Ekfac(bases, {name: value / count for name, value in totals.items()})


def apply(ekfac: Ekfac, weights: Mapping[str, Tensor], v: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return {parameter: its part of Q diag(weights) Q^T v}, in v's dtypes; computed in float64.

    `weights` are `ekfac.values` for the curvature itself, `ekfac.damped(d)` for its inverse.
    """
    out = {}
    for layer, basis in ekfac.bases.items():
        parts = [v[name].double().reshape(len(basis.outer), -1) for name in basis.names]
        inner, outer = basis.inner.double(), basis.outer.double()
        joint = outer @ ((outer.t() @ torch.cat(parts, dim=1) @ inner) * weights[layer]) @ inner.t()
        for name, part in zip(basis.names, joint.split([part.shape[1] for part in parts], dim=1), strict=True):
            out[name] = part.reshape(v[name].shape).to(v[name].dtype)
    for name, weight in weights.items():
        if name not in ekfac.bases:
            out[name] = (weight * v[name]).to(v[name].dtype)
    return {name: out[name] for name in v}


def outside(engine: SquaredGradients) -> tuple[str, ...]:
    """Return sentences on the parameters that EK-FAC takes by their own diagonal."""
    layers = factored_layers(engine)
    inside = {name for names in layers.values() for name in names}
    names = [name for name, _ in engine.model.named_parameters() if name not in inside]
    if not names:
        return ()
    shown = ", ".join(names[:6]) + (f" and {len(names) - 6} more" if len(names) > 6 else "")
    return (
        f"EK-FAC takes {shown} by the parameters' own diagonal: only Linear layers and ungrouped convolutions with at "
        f"most {LARGEST_SIDE} inputs (and outputs) a position have Kronecker factors.",
    )
