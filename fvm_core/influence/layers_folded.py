"""Squared gradients of a convolution and the BatchNorm folded into it, from input a and gradient g at the norm's
output y.

The filters' gradient is scale * G with G = g a^T, so that the squares of G are weighed by scale^2. The norm's own are
dL/dbias = sum g and dL/dweight = sum g (y - bias) / weight. With y = W' a + b' the latter is
(<W', G> + (b' - bias) sum g) / weight for each filter: where G is smaller than y, y is neither kept nor read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from fvm_core.influence.folded_norms import OF_NORM, Folded, per_filter
from fvm_core.influence.fused import usable
from fvm_core.influence.layers import Calls, Rule, widened
from fvm_core.influence.layers_conv import ConvRule
from fvm_core.influence.plan import Plan


class FoldedNormRule(Rule):
    """A folded norm by itself: its input is its output, and its gradients are sums over positions."""

    def floats(self, module: Any, a: Tensor, g: Tensor) -> int:
        return 2 * a[0].numel()

    def grads(self, module: Any, a: Tensor, g: Tensor) -> dict[str, Tensor]:
        last = a.is_contiguous(memory_format=torch.channels_last) and not a.is_contiguous()
        axis = 1 if last else 2
        a, g = (v.permute(0, 2, 3, 1).flatten(1, 2) if last else v.flatten(2) for v in (a, g))
        sums = g.sum(axis)
        return {"weight": ((a * g).sum(axis) - sums * module.bias) / module.weight, "bias": sums}


class FoldedConvRule(Rule):
    """A convolution with a folded norm; where `joined` its norm, too, whose gradients come from the filters'."""

    together = True

    def __init__(self, rule: ConvRule, folded: Folded, *, joined: bool) -> None:
        self.rule, self.folded = rule, folded
        self.along = folded.weight if joined else None

    def weighted_many(
        self, module: Any, many: list[Calls], weights: Mapping[str, Tensor], budget: int
    ) -> list[dict[str, Tensor]]:
        own = {name: value for name, value in weights.items() if not name.startswith(OF_NORM)}
        found, dots = self.rule.weighted_scaled(module, many, own, budget, scale=self.folded.squares, along=self.along)
        if dots is not None:
            for part, products, calls in zip(found, dots.unbind(1), many, strict=True):
                for name, value in self._of_norm(products, calls[0][1]).items():
                    if name in weights:
                        part[name] = value.square_() @ weights[name]
        return found

    def summed(self, module: Any, calls: Calls, budget: int) -> dict[str, Tensor]:
        a, g = calls[0]
        found, dots = self.rule.summed_along(module, a, g, budget, self.along)
        for name, value in found.items():
            whole = value.view_as(getattr(module, name))
            found[name] = whole.mul_(per_filter(self.folded.squares, whole))
        if dots is not None:
            found |= {name: value.square_().sum(0) for name, value in self._of_norm(dots, g).items()}
        return found

    def _of_norm(self, dots: Tensor, g: Tensor) -> dict[str, Tensor]:
        """Return the norm's gradients (b, out) each, from dots (b, out) = <W', G>."""
        sums = widened(g).flatten(2).sum(2)
        # In this order, as both may be far larger than their sum.
        weight = torch.addcmul(dots, sums, self.folded.offset).div_(self.folded.gain)
        return {f"{OF_NORM}weight": weight, f"{OF_NORM}bias": sums}


NORM = FoldedNormRule()


def folded_plan(plan: Plan, folded: Mapping[str, Folded], weighed: set[str] | None, example: Tensor) -> Plan:
    """Return the plan for one run on `example` (b, ...) with these norms folded.

    Joined norms are no layers of it: their parameters are their convolutions', under names of their own. `weighed`:
    names of the parameters that count (None: all); where the filters do not, their gradients are not taken.
    """
    rules, owned, calls = dict(plan.rules), dict(plan.owned), dict(plan.calls)
    for name, each in folded.items():
        norm, module, rule = each.pair.norm, plan.modules[name], plan.rules[name]
        assert isinstance(rule, ConvRule)
        counts = weighed is None or plan.owned[name]["weight"] in weighed
        joined = each.joined and counts and not usable(module, example, example)
        rules[name] = FoldedConvRule(rule, each, joined=joined)
        if joined:
            owned[name] = owned[name] | {f"{OF_NORM}{key}": value for key, value in owned.pop(norm).items()}
            del rules[norm], calls[norm]
        else:
            rules[norm] = NORM
    return replace(plan, rules=rules, owned=owned, calls=calls)
