"""The standard influence function g_val^T H^-1 g_z (Eq. 6; Koh & Liang 2017), for all labels at once."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp
from torch.nn import functional as F

from fvm_core.errors import DataError
from fvm_core.influence.capture import evaluating
from fvm_core.influence.fisher import Batches


def validation_gradient(
    model: nn.Module, batches: Batches, *, progress: Callable[[int], None] | None = None
) -> dict[str, Tensor]:
    """Return {parameter: gradient of the mean cross-entropy over the validation samples}, in eval mode.

    Raises:
        DataError: no sample.
    """
    names, parameters = zip(*model.named_parameters(), strict=True)
    totals = [torch.zeros_like(value, dtype=torch.float64) for value in parameters]
    count = 0
    with evaluating(model, parameter_grads=True), torch.enable_grad():
        for x, y in batches:
            loss = F.cross_entropy(model(x), y, reduction="sum")
            grads = torch.autograd.grad(loss, parameters, allow_unused=True, materialize_grads=True)
            for total, grad in zip(totals, grads, strict=True):
                total += grad
            count += len(x)
            if progress:
                progress(count)
    if count == 0:
        raise DataError("the validation set has no sample: its gradient needs at least one. Choose another set.")
    return {name: (total / count).to(p.dtype) for name, total, p in zip(names, totals, parameters, strict=True)}


def logit_derivative(model: nn.Module, x: Tensor, direction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return logits (b, c) and J u (b, c): how the logits move with the parameters along `direction` u.

    One forward-mode pass; where an operation has none, two reverse passes give the same.
    """
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    tangent = {name: direction[name] for name in parameters}
    with evaluating(model), warnings.catch_warnings(), suppress(NotImplementedError, RuntimeError):
        warnings.simplefilter("ignore", FutureWarning)  # torch's own forward mode uses its deprecated torch.jit
        # Whatever forward mode refuses, reverse mode gets to try: an error of the model itself is raised there.
        logits, moved, *_ = jvp(lambda values: functional_call(model, values, (x,)), (parameters,), (tangent,))
        return logits.detach(), moved.detach()
    return _by_reverse(model, x, tangent)


def _by_reverse(model: nn.Module, x: Tensor, tangent: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """J u as the derivative, in w, of (J^T w) . u."""
    with evaluating(model, parameter_grads=True), torch.enable_grad():
        parameters = list(model.parameters())
        logits = model(x)
        w = torch.zeros_like(logits, requires_grad=True)
        pulled = torch.autograd.grad(
            logits, parameters, w, create_graph=True, allow_unused=True, materialize_grads=True
        )
        inner = torch.stack([(a * b).sum() for a, b in zip(pulled, tangent.values(), strict=True)]).sum()
        return logits.detach(), torch.autograd.grad(inner, w)[0]


def standard_scores(model: nn.Module, x: Tensor, direction: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return (b, c) float64 g_val^T H^-1 g_(x, k) for every label k, and logits (b, c). `direction` is H^-1 g_val.

    **Low (negative) = likely mislabeled**: divided by n, the score is to first order the change of the mean validation
    loss when the sample is left out of training; where it is negative, the sample harms.
    g_(x, k) = J^T (p - e_k), so one directional derivative of the logits serves all labels.
    """
    logits, moved = logit_derivative(model, x, direction)
    moved = moved.double()
    mean = (F.softmax(logits.double(), dim=1) * moved).sum(1, keepdim=True)
    return mean - moved, logits
