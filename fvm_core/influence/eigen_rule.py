"""Per-sample gradients in the Kronecker eigenbasis, Q_S^T G Q_A: EK-FAC is a diagonal there (George et al. 2018)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fvm_core.influence.folded_norms import FoldedNorms
from fvm_core.influence.kronecker import Basis, output_gradient, positions, sides, unfolded
from fvm_core.influence.layers import Calls, Rule, contract
from fvm_core.influence.per_sample import SquaredGradients

JOINT = "joint"


class EigenRule(Rule):
    """Linear and ungrouped convolutions: weight and bias as one (o, i) gradient, turned into `basis`."""

    together = True

    def __init__(self, basis: Basis) -> None:
        self.basis = basis

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        inputs, outputs = sides(module)
        return 2 * (inputs + outputs) * positions(module, g) + 2 * inputs * outputs

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        return {JOINT: turned(module, a, g.unsqueeze(1), self.basis).flatten(1)}

    def weighted(self, module: Any, calls: Calls, weights: Mapping[str, Tensor], budget: int) -> dict[str, Tensor]:
        return self.weighted_many(module, [calls], weights, budget)[0]

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        weight = weights[JOINT].reshape(-1)
        out = [many[0][0][0].new_zeros(len(many[0][0][0])) for _ in many]
        if self._single(module, many[0]):
            a, g = many[0][0]
            reach = self._inputs_squared(module, a, g) @ weights[JOINT].t()
            for index, calls in enumerate(many):
                out[index] = (self._outputs_squared(module, calls[0][1]) * reach).sum(1)
            return [{JOINT: value} for value in out]
        inputs, outputs = sides(module)
        shared = max(self.floats(module, a, g) for a, g in many[0])
        each = 2 * inputs * outputs + outputs * max(positions(module, g) for _, g in many[0])
        labels = min(len(many), max(1, (budget // 4 - shared) // each))
        step = max(1, budget // (4 * (shared + labels * each)))
        for low in range(0, len(many), labels):
            group = many[low : low + labels]
            for start in range(0, len(out[0]), step):
                rows = slice(start, start + step)
                total: Tensor | None = None
                for call, (a, _) in enumerate(group[0]):
                    pulls = torch.stack([calls[call][1][rows] for calls in group], dim=1)
                    part = turned(module, a[rows], pulls, self.basis)
                    total = part if total is None else total + part
                assert total is not None
                found = contract(total.flatten(0, 1).flatten(1).square_(), weight).view(-1, len(group))
                for index in range(len(group)):
                    out[low + index][rows] = found[:, index]
        return [{JOINT: value} for value in out]

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        if not self._single(module, calls):
            return super().summed(module, calls, budget)
        a, g = calls[0]
        squares = self._outputs_squared(module, g).t() @ self._inputs_squared(module, a, g)
        return {JOINT: squares.flatten().double()}

    def _single(self, module: Any, calls: Calls) -> bool:
        """Return whether each sample uses the weight once: its squared gradient is then an outer product."""
        return len(calls) == 1 and positions(module, calls[0][1]) == 1

    def _inputs_squared(self, module: Any, a: Tensor, g: Tensor) -> Tensor:
        return (unfolded(module, a, g).squeeze(2) @ self.basis.inner).square_()

    def _outputs_squared(self, module: Any, g: Tensor) -> Tensor:
        return (output_gradient(module, g).squeeze(2) @ self.basis.outer).square_()


def turned(module: Any, a: Tensor, pulls: Tensor, basis: Basis) -> Tensor:
    """Return (b, m, o, i): Q_S^T G Q_A for m output gradients `pulls` (b, m, ...) of each sample's input a (b, ...).

    Turns the inputs first, once for all m, or each gradient, whichever costs less.
    """
    b, m = pulls.shape[:2]
    columns = unfolded(module, a, pulls[:, 0])
    inputs, t = columns.shape[1:]
    g = output_gradient(module, pulls.flatten(0, 1))
    outputs = g.shape[1]
    if t * inputs * inputs + m * t * outputs * outputs < m * (outputs * inputs * inputs + outputs * outputs * inputs):
        columns = basis.inner.t() @ columns
        g = basis.outer.t() @ g
        return torch.bmm(g.reshape(b, m * outputs, t), columns.transpose(1, 2)).view(b, m, outputs, inputs)
    grads = torch.bmm(g.reshape(b, m * outputs, t), columns.transpose(1, 2)).view(b, m, outputs, inputs)
    return basis.outer.t() @ (grads @ basis.inner)


class EigenGradients(SquaredGradients):
    """SquaredGradients in which each layer with a basis is one (o, i) parameter under the layer's own name.

    `weights` and `totals` then hold {layer: (o, i)} for these and {parameter: its shape} for all others.
    """

    def __init__(self, engine: SquaredGradients, bases: Mapping[str, Basis]) -> None:
        self.model, self.budget, self.bases = engine.model, engine.budget, dict(bases)
        rules: dict[str, Rule] = {layer: EigenRule(basis) for layer, basis in bases.items()}
        owned = {layer: {JOINT: layer} for layer in bases}
        # No norm is folded: the filters' scales would not commute with the bases.
        self.plan = replace(
            engine.plan, rules={**engine.plan.rules, **rules}, owned={**engine.plan.owned, **owned}, pairs=()
        )  # fmt: skip
        self._norms = FoldedNorms(self.plan.modules, ())

    def shapes(self) -> dict[str, torch.Size]:
        within = {name for basis in self.bases.values() for name in basis.names}
        others = {name: shape for name, shape in super().shapes().items() if name not in within}
        return {
            layer: torch.Size((len(basis.outer), len(basis.inner))) for layer, basis in self.bases.items()
        } | others  # fmt: skip
