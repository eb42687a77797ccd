"""DataInf: the inverse of a mean replaced by the mean of inverses, in closed form per layer (Kwon et al. 2024)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import torch
from torch import Tensor

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.fisher import Batches
from fvm_core.influence.layer_gradients import layers_of, visit_gradients
from fvm_core.influence.per_sample import SquaredGradients, residuals

Direction = dict[str, Tensor]
"""{parameter: tensor of its shape}."""


def layer_damping(engine: SquaredGradients, fisher: Mapping[str, Tensor], *, damping: float) -> dict[str, float]:
    """Return {layer: lambda}: `damping` times the mean squared gradient over samples and the layer's parameters.

    `fisher` is the mean over samples, parameter by parameter (`fisher_diagonal`). A layer is a module with its weight
    and bias. lambda is 0 for a layer that no sample moves.

    Raises:
        DataError: a gradient is not finite.
        SettingsError: `damping` <= 0.
    """
    if not damping > 0:
        raise SettingsError(f"`datainf_damping` must be > 0, got {damping!r}.")
    found = {}
    for layer, names in layers_of(engine).items():
        total = sum(float(fisher[name].double().sum()) for name in names)
        if not math.isfinite(total):
            raise DataError(
                f"the gradients of layer `{layer}` are not finite: the model's outputs overflow. Check the model's "
                "normalisation, or use another checkpoint."
            )
        found[layer] = damping * total / sum(fisher[name].numel() for name in names)
    return found


def datainf(
    engine: SquaredGradients,
    batches: Batches,
    vectors: Sequence[Mapping[str, Tensor]],
    lambdas: Mapping[str, float],
    *,
    progress: Callable[[int], None] | None = None,
) -> list[Direction]:
    """Return H^-1 v for each v in `vectors`, in v's dtypes: layer by layer the mean over samples i of
    (g_i g_i^T + lambda)^-1 v = (v - (v . g_i) / (lambda + |g_i|^2) g_i) / lambda.

    g_i is the gradient of sample i's cross-entropy with its label in `batches`, in eval mode; `lambdas` is what
    `layer_damping` returns. H^-1 v is 0 in a layer whose lambda is 0. Cost: a forward and backward pass a sample, with
    its gradient built one layer and a few samples at a time, and 4 operations a parameter, sample and vector. Memory:
    8 bytes a parameter and vector.

    Raises:
        DataError: no sample.
        SettingsError: the result is not finite.
    """
    layers = layers_of(engine)
    stacked = {
        name: torch.stack([v[name].flatten() for v in vectors], dim=1) for names in layers.values() for name in names
    }
    totals = {
        name: torch.zeros(value.shape, dtype=torch.float64, device=value.device) for name, value in stacked.items()
    }
    count = 0

    def visit(layer: str, rows: slice, grads: Mapping[str, Tensor]) -> None:
        scale = lambdas[layer]
        if scale <= 0:
            return
        along = torch.stack([grad @ stacked[name] for name, grad in grads.items()]).sum(0)
        squares = torch.stack([grad.square().sum(1) for grad in grads.values()]).sum(0)
        share = along / (scale + squares).unsqueeze(1)
        for name, grad in grads.items():
            totals[name] += grad.t() @ share

    for x, y in batches:
        visit_gradients(engine, x, lambda logits, y=y: residuals(logits, y), visit)  # type: ignore[misc]
        count += len(x)
        if progress:
            progress(count)
    if count == 0:
        raise DataError("the curvature has no sample: DataInf needs at least one. Choose another set.")
    out: list[Direction] = [{} for _ in vectors]
    for layer, names in layers.items():
        for name in names:
            scale = lambdas[layer]
            solved = (stacked[name] - totals[name] / count) / scale if scale > 0 else torch.zeros_like(totals[name])
            for index, v in enumerate(vectors):
                value = solved[:, index].reshape(v[name].shape).to(v[name].dtype)
                if not bool(torch.isfinite(value).all()):
                    raise SettingsError(
                        f"`datainf_damping` must be large enough to invert the curvature of layer `{layer}`: with "
                        f"lambda {scale:.3g} the result is not finite. Raise `datainf_damping`."
                    )
                out[index][name] = value
    return [{name: found[name] for name in v} for found, v in zip(out, vectors, strict=True)]
