"""Random gradients at the logits whose outer product is the cross-entropy's Hessian there, on average."""

from __future__ import annotations

import torch
from torch import Tensor


def signed_residuals(logits: Tensor, signs: Tensor) -> Tensor:
    """Return (b, c) sum over k of signs_k sqrt(p_k) (p - e_k), in the dtype of the logits; `signs` (b, c) are +1 or -1.

    With independent fair signs the mean of its outer product is diag(p) - p p^T, the Hessian of cross-entropy at the
    logits, so gradients pulled back from it have the Gauss-Newton Hessian (for softmax the Fisher information of the
    model's own labels) as second moment. One label drawn from p has it too, but where the model is sure it is nearly
    always the same label: the signs let every label count in every sample, by sqrt(p).

    >>> signed_residuals(torch.zeros(1, 2).double(), torch.tensor([[1.0, -1.0]])).round(decimals=3).tolist()
    [[-0.707, 0.707]]
    """
    p = torch.softmax(logits.double(), dim=1)
    roots = p.sqrt() * signs
    return (roots.sum(1, keepdim=True) * p - roots).to(logits.dtype)


class RandomSigns:
    """A pull for `fit_ekfac`: signed residuals, the signs drawn from `seed` call by call. Labels are not looked at."""

    def __init__(self, seed: int) -> None:
        self.generator = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor, y: Tensor) -> Tensor:
        signs = 2 * torch.randint(2, logits.shape, generator=self.generator) - 1
        return signed_residuals(logits, signs.to(logits.device))
