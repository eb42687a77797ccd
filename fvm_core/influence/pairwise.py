"""Eq. 20: how one training sample z_tr speaks for or against the label of one validation sample z_val.

I(z_tr, z_val) = g_val^T P g_tr + 1/2 eps g_tr^T P H_val P g_tr, with P = (F_val + d)^-1 at the tuned weights, F_val the
diagonal Fisher of the whole validation set, and g_val, H_val gradient and Hessian of z_val's own loss.

The sign. Give z_tr the weight -eps in the validation objective, that is, take some of it away (Eq. 17 with -eps): the
weights move by +eps P g_tr (Eq. 18), and z_val's loss by eps g_val^T P g_tr + 1/2 eps^2 g_tr^T P H_val P g_tr (Eq. 19
with its first-order term), which is eps I. So **positive = without z_tr the loss of z_val would be higher: training on
z_tr lowers it, z_tr speaks for z_val's label. Negative = training on it raises the loss of z_val: it speaks against the
label.** Put in with +eps, z_tr changes the loss by -eps (first - second): the first-order term turns with the sign of
eps, the second-order one does not.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from contextlib import suppress

import torch
from torch import Tensor, nn
from torch.func import functional_call, jvp, vmap

from fvm_core.influence.capture import evaluating
from fvm_core.influence.layer_gradients import visit_gradients
from fvm_core.influence.per_sample import SquaredGradients, residuals
from fvm_core.influence.standard import logit_derivative, standard_scores

Vector = Mapping[str, Tensor]
"""{parameter: tensor of its shape}."""
DROPPED = 1e-4
"""Share of the Gauss-Newton matrix's trace that is given up to save passes."""


def pulled_back(model: nn.Module, x: Tensor, pulls: Tensor) -> list[dict[str, Tensor]]:
    """Return J^T w for each row w of `pulls` (m, c), J the Jacobian of the logits of one sample x (1, ...)."""
    with evaluating(model, parameter_grads=True), torch.enable_grad():
        names, parameters = zip(*model.named_parameters(), strict=True)
        logits = model(x)
        found = [
            torch.autograd.grad(
                logits, parameters, pull.to(logits.dtype).unsqueeze(0), retain_graph=True, allow_unused=True,
                materialize_grads=True,
            )
            for pull in pulls
        ]  # fmt: skip
    return [dict(zip(names, grads, strict=True)) for grads in found]


def sample_gradient(model: nn.Module, x: Tensor, label: int) -> dict[str, Tensor]:
    """Return the gradient of cross-entropy of one sample x (1, ...) with this label, in eval mode."""
    return pulled_back(model, x, _residual(_logits(model, x), label))[0]


def preconditioned(vector: Vector, weights: Vector) -> dict[str, Tensor]:
    """Return P v = v / (F + d), elementwise; `weights` are those of `inverse_fisher`."""
    return {name: value * weights[name] for name, value in vector.items()}


def first_order(model: nn.Module, x: Tensor, direction: Vector) -> Tensor:
    """Return (b, c) float64 g_val^T P g_(x, k) for each sample of x (b, ...) and every label k; `direction` = P g_val.

    One forward-mode pass, whatever the number of labels.
    """
    return standard_scores(model, x, direction)[0]


def sample_gradients(engine: SquaredGradients, x: Tensor, y: Tensor) -> dict[str, Tensor]:
    """Return {parameter: (b, *its shape)}: the gradient of cross-entropy of each sample, for a few samples."""
    out = {name: x.new_zeros(len(x), *value.shape) for name, value in engine.model.named_parameters()}

    def visit(layer: str, rows: slice, grads: Mapping[str, Tensor]) -> None:
        for name, value in grads.items():
            out[name][rows] = value.view(-1, *out[name].shape[1:])

    visit_gradients(engine, x, lambda logits: residuals(logits, y), visit)
    return out


def second_order(model: nn.Module, x: Tensor, label: int, moves: Vector, *, epsilon: float) -> Tensor:
    """Return (m,) float64 1/2 eps u^T H u exactly: H the Hessian of z_val = (x (1, ...), label), u each of the `moves`
    {parameter: (m, *its shape)}, P g_tr of m samples.

    From the first and second derivative of the logits along u, so that a nearly certain sample keeps its digits.
    It may be negative where the loss is not convex. Cost: about three forward passes of one sample for each u; memory:
    a few times the moves.
    """
    squares = torch.stack([value.double().flatten(1).square().sum(1) for value in moves.values()]).sum(0)
    lengths = squares.sqrt().clamp(min=torch.finfo(torch.float64).tiny)
    units = {
        name: (value.double() / lengths.view(-1, *[1] * (value.dim() - 1))).to(value.dtype)
        for name, value in moves.items()
    }
    logits, slopes, bends = _along(model, x, label, units)
    p, relative = _other_probabilities(logits, label), slopes - slopes[:, label : label + 1]
    curvature = (relative.square() @ p) - (relative @ p).square() + bends
    return 0.5 * epsilon * curvature * squares


def gauss_newton_directions(model: nn.Module, x: Tensor, weights: Vector) -> list[dict[str, Tensor]]:
    """Return directions d_1, d_2, ... with sum_k (d_k . g_tr)^2 = g_tr^T P J^T S J P g_tr, at most c - 1 of them.

    S = diag(p) - p p^T is the Hessian of cross-entropy at the logits of z_val = x (1, ...), whatever its label: half
    eps times the sum is the second-order term without the curvature of the logits themselves, never negative, and it
    is had for all training samples and labels at once from one forward-mode pass a direction. The largest d_k that hold
    all but 0.01 % of S's trace are kept: a certain sample needs one or two.
    """
    logits = _logits(model, x).double()
    c = logits.shape[1]
    p = torch.softmax(logits, dim=1)[0]
    roots = torch.cat([_residual(logits, k) for k in range(c)]) * p.sqrt().unsqueeze(1)
    _, sizes, axes = torch.linalg.svd(roots)
    left = sizes.square().flip(0).cumsum(0).flip(0)
    count = max(1, int((left > DROPPED * left[0]).sum())) if left[0] > 0 else 0
    pulls = sizes[:count].unsqueeze(1) * axes[:count]
    return [preconditioned(row, weights) for row in pulled_back(model, x, pulls)]


def _logits(model: nn.Module, x: Tensor) -> Tensor:
    with evaluating(model), torch.no_grad():
        return model(x)


def _residual(logits: Tensor, label: int) -> Tensor:
    return residuals(logits.double(), torch.tensor([label], device=logits.device))


def _other_probabilities(logits: Tensor, label: int) -> Tensor:
    """Return (c,) softmax with 0 in the place of `label`."""
    p = torch.softmax(logits, dim=0)
    p[label] = 0.0
    return p


def _along(model: nn.Module, x: Tensor, label: int, units: Vector) -> tuple[Tensor, Tensor, Tensor]:
    """Return logits (c,), their derivative along each unit (m, c) and (p - e_label) . their second derivative (m,),
    all float64."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    zero, one = (torch.tensor(value, dtype=x.dtype, device=x.device) for value in (0.0, 1.0))

    def derivatives(unit: dict[str, Tensor]) -> tuple[Tensor, Tensor, Tensor]:
        def moved(t: Tensor) -> Tensor:
            return functional_call(model, {name: value + t * unit[name] for name, value in parameters.items()}, (x,))

        values, rates, *_ = jvp(lambda t: jvp(moved, (t,), (one,)), (zero,), (one,))
        return values[0][0], values[1][0], rates[1][0]

    with evaluating(model), warnings.catch_warnings(), suppress(NotImplementedError, RuntimeError):
        warnings.simplefilter("ignore", FutureWarning)  # torch's own forward mode uses its deprecated torch.jit
        logits, slopes, bends = (value.detach().double() for value in vmap(derivatives)(dict(units)))
        p = _other_probabilities(logits[0], label)
        return logits[0], slopes, (bends - bends[:, label : label + 1]) @ p
    logits = _logits(model, x)[0].double()
    pull = _residual(logits.unsqueeze(0), label)
    each = [{name: value[n] for name, value in units.items()} for n in range(len(next(iter(units.values()))))]
    slopes = torch.stack([logit_derivative(model, x, unit)[1][0].double() for unit in each])
    return logits, slopes, torch.stack([_bend_by_reverse(model, x, pull, unit) for unit in each])


def _bend_by_reverse(model: nn.Module, x: Tensor, pull: Tensor, unit: Vector) -> Tensor:
    """Return u^T (Hessian of w . logits) u for w = `pull` (1, c), for operations without forward mode."""
    with evaluating(model, parameter_grads=True), torch.enable_grad():
        parameters = list(model.parameters())
        pulled = (model(x) * pull.to(x.dtype)).sum()
        grads = torch.autograd.grad(pulled, parameters, create_graph=True, allow_unused=True, materialize_grads=True)
        inner = torch.stack([(g * u).sum() for g, u in zip(grads, unit.values(), strict=True)]).sum()
        if not inner.requires_grad:
            return inner.detach().double() * 0.0
        rows = torch.autograd.grad(inner, parameters, allow_unused=True, materialize_grads=True)
        return torch.stack([(r * u).sum() for r, u in zip(rows, unit.values(), strict=True)]).sum().detach().double()
