"""From a gradient to a score: every term of s = sum of g^2 / (F + d) of one image, under each label."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

import pandas as pd
import torch
from torch import Tensor

from fvm_core.influence.layer_gradients import visit_gradients
from fvm_core.influence.per_sample import SquaredGradients, residuals


def flag_terms(
    engine: SquaredGradients, x: Tensor, fisher: Mapping[str, Tensor], *, damping: float, classes: int, top: int
) -> pd.DataFrame:
    """Return the rows of `store.FLAG` for the image x (1, ...) under each of `classes` labels, in float64.

    `fisher` has a tensor for every parameter. The terms with `index` -1 of one label add up to s (Eq. 21, 24) of that
    label; the smallest of these sums names the suggested label (Eq. 22). One forward and backward pass a label.
    """
    rows: list[tuple[int, str, str, int, float, float, float]] = []
    for label in range(classes):
        given = torch.full((1,), label, device=x.device)

        def visit(layer: str, _: slice, grads: Mapping[str, Tensor], label: int = label) -> None:
            for name, value in grads.items():
                g, f = value[0].double().flatten(), fisher[name].double().flatten()
                terms = g.square() / (f + damping)
                length = float(torch.linalg.vector_norm(g))
                rows.append((label, layer, name, -1, length, float(f.mean()), float(terms.sum())))
                for at in terms.topk(min(top, len(terms))).indices.tolist():
                    rows.append((label, layer, name, at, float(g[at]), float(f[at]), float(terms[at])))

        visit_gradients(engine, x, partial(residuals, labels=given), visit)
    return pd.DataFrame(rows, columns=["label", "layer", "parameter", "index", "gradient", "fisher", "term"])
