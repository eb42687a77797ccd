"""Eq. 20 and 21 on LoRA's parameters, TracIn and DataInf, for all training and validation pairs. Pure functions.

Signs as in `fvm_core.influence.pairwise`: **positive = training on the pair lowers the loss of the validation pair, it
speaks for it; negative = it speaks against it.** Of Eq. 21, large = likely wrong. G (n, p) and V (v, p) hold the
gradients of training and validation pairs, one a row.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import torch
from torch import Tensor

from fvm_core.errors import DataError, SettingsError

Slices = Mapping[str, slice]
"""{parameter: its place in a row}."""


def fisher_weights(validation: Tensor, *, damping: float) -> tuple[Tensor, float]:
    """Return (p,) float32 P = 1 / (F + d), F the mean over V's rows of their squares (Eq. 24), and d.

    d is `damping` times the mean of F over all parameters.

    Raises:
        DataError: no validation pair, or gradients that are all zero or not finite.
        SettingsError: `damping` <= 0.
    """
    if not damping > 0:
        raise SettingsError(f"`damping` must be > 0, got {damping!r}.")
    if len(validation) == 0:
        raise DataError("the validation set has no pair: its Fisher needs at least one. Choose another set.")
    fisher = torch.zeros(validation.shape[1], dtype=torch.float64, device=validation.device)
    for row in validation:
        fisher += row.double().square()
    fisher /= len(validation)
    mean = float(fisher.mean())
    if not 0 < mean < float("inf"):
        raise DataError(
            "the gradients of the validation pairs must be finite and not all zero: the model's losses overflow, or "
            "the adapter is not reached. Check the model."
        )
    d = damping * mean
    return (1.0 / (fisher + d)).float(), d


def first_order(gradients: Tensor, validation: Tensor, weights: Tensor) -> Tensor:
    """Return (n, v) g_val^T P g_tr, Eq. 20's first term. Cost: 2 n v p operations."""
    return (gradients * weights) @ validation.t()


def second_order(first: Tensor, *, epsilon: float) -> Tensor:
    """Return (n, v) 1/2 epsilon g_tr^T P H_val P g_tr, Eq. 20's second term, never negative, from its first.

    H_val, the Hessian of one validation pair's loss, is replaced by its empirical Fisher g_val g_val^T, as Eq. 24 does
    for the whole set: the term is 1/2 epsilon (g_val^T P g_tr)^2, so it costs nothing, and summed over the validation
    set it is Eq. 59's. Raises SettingsError: `epsilon` < 0.
    """
    if not epsilon >= 0:
        raise SettingsError(f"`epsilon` must be >= 0, got {epsilon!r}.")
    return 0.5 * epsilon * first.square()


def pair_influence(gradients: Tensor, terms: Sequence[Tensor], weights: Tensor, *, epsilon: float) -> Tensor:
    """Return (n, v) Eq. 20, with H_val the mean of g_d g_d^T over the terms d that a validation pair's loss is a mean
    of: its empirical Fisher. A text's loss has one term, a diffusion model's one for each draw of time step and noise.

    `terms`: the gradients (v, p) of each of them; their mean is V. At a minimum a mean over draws is little but noise,
    and so is its square, while the mean of the squares grows surer with each draw. Cost: 2 n v p operations a term.
    """
    firsts = [first_order(gradients, term, weights) for term in terms]
    seconds = [second_order(first, epsilon=epsilon) for first in firsts]
    return torch.stack(firsts).mean(0) + torch.stack(seconds).mean(0)


def self_scores(gradients: Tensor, weights: Tensor) -> Tensor:
    """Return (n,) s = g_tr^T P g_tr (Eq. 21) >= 0. **Large = likely wrong.**"""
    return (gradients.square() * weights).sum(1)


def tracin(gradients: Tensor, validation: Tensor) -> Tensor:
    """Return (n, v) g_val . g_tr at the final checkpoint (B.2)."""
    return gradients @ validation.t()


def datainf_directions(
    batches: Callable[[], Iterable[Tensor]], validation: Tensor, slices: Slices, *, damping: float
) -> Tensor:
    """Return (v, p) h with DataInf's score h . g_tr, layer by layer (each of LoRA's matrices is one):

    h = mean over training pairs i of (v - (v . g_i) / (lambda + |g_i|^2) g_i) / lambda, with lambda = `damping` times
    the layer's mean squared gradient (Kwon et al. 2024; B.2: 0.1). 0 in a layer that no pair moves.

    `batches()` gives the training gradients (b, p) in pieces, and is asked twice. Cost: 4 n v p operations. Memory:
    4 v p bytes beside V.

    Raises:
        DataError: no training pair. SettingsError: `damping` <= 0, or a result that is not finite.
    """
    if not damping > 0:
        raise SettingsError(f"`datainf_damping` must be > 0, got {damping!r}.")
    count, totals = 0, dict.fromkeys(slices, 0.0)
    for piece in batches():
        count += len(piece)
        for name, place in slices.items():
            totals[name] += float(piece[:, place].double().square().sum())
    if count == 0:
        raise DataError("the training set has no pair: DataInf needs at least one. Choose another set.")
    lambdas = {name: damping * totals[name] / (count * (place.stop - place.start)) for name, place in slices.items()}
    out = torch.zeros_like(validation)
    for piece in batches():
        for name, place in slices.items():
            if lambdas[name] > 0:
                part = piece[:, place]
                share = (validation[:, place] @ part.t()) / (lambdas[name] + part.square().sum(1))
                out[:, place] -= share @ part / count
    for name, place in slices.items():
        out[:, place] = (out[:, place] + validation[:, place]) / lambdas[name] if lambdas[name] > 0 else 0.0
        if not bool(torch.isfinite(out[:, place]).all()):
            raise SettingsError(
                f"`datainf_damping` must be large enough to invert the curvature of layer `{name}`: with lambda "
                f"{lambdas[name]:.3g} the result is not finite. Raise `datainf_damping`."
            )
    return out
