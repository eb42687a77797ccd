"""Squared per-sample gradients of several labels, and of chosen layers, from one forward pass."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from fvm_core.influence.capture import Capture
from fvm_core.influence.fallback import fallback_gradients
from fvm_core.influence.layers import Calls, contract, widened
from fvm_core.influence.plan import Plan

HELD_BYTES = 64 * 2**20
"""Bytes of output gradients of several labels that are held at once."""


@dataclass(frozen=True)
class ForwardPass:
    """One forward pass within `SquaredGradients.running`; `plan`: of this run; `logits` (b, c) with their graph."""

    model: nn.Module
    plan: Plan
    budget: int
    x: Tensor
    weights: Mapping[str, Tensor]
    local: dict[str, Mapping[str, Tensor]]
    capture: Capture
    logits: Tensor

    def contributions(
        self,
        pulls: list[Tensor],
        *,
        layers: frozenset[str] | None = None,
        without: frozenset[str] = frozenset(),
        last: bool = True,
    ) -> list[dict[str, Tensor]]:
        """Return {parameter: (b,) sum of weight * gradient^2} for each of the gradients at the logits, m times (b, c).

        `layers`: of these only, and nothing below them is computed. `without`: of all but these. A joined norm is part
        of its convolution: its own name stands for nothing. `last`: no other backward pass will follow.
        """
        plan, capture, rules = self.plan, self.capture, self.plan.rules
        wanted = (frozenset(self.local) if layers is None else layers & frozenset(self.local)) - without
        rest = () if layers is not None else tuple(name for name in plan.fallback if name in self.weights)
        own = self._owned(wanted)
        names = [*rest, *(name for name in self.weights if name in own)]
        out: list[dict[str, Tensor]] = [{} for _ in pulls]
        together = frozenset(name for name in wanted if len(pulls) > 1 and rules[name].together)
        size = max(1, HELD_BYTES // max(1, sum(capture.bytes_out[name] for name in together)))
        for start in range(0, len(pulls), size):
            group = out[start : start + size]

            def consume(
                layer: str, indices: list[int], calls: list[Calls], group: list[dict[str, Tensor]] = group
            ) -> None:
                module, owned = plan.modules[layer], plan.owned[layer]
                parts = rules[layer].weighted_many(module, calls, self.local[layer], self.budget)
                for index, part in zip(indices, parts, strict=True):
                    group[index].update({owned[key]: value for key, value in part.items()})

            capture.backward(
                self.logits, pulls[start : start + size], consume, together=together, layers=wanted,
                downward=layers is None, last=last and start + size >= len(pulls),
            )  # fmt: skip
        nothing = self._nothing()
        for found, pull in zip(out, pulls, strict=True):
            others = fallback_gradients(self.model, rest, self.x, pull, budget=self.budget, by_loop=plan.by_loop)
            for rows, grads in others if rest else ():
                for name, value in grads.items():
                    whole = found.setdefault(name, torch.zeros_like(nothing))
                    whole[rows] = contract(widened(value).square(), self.weights[name].reshape(-1))
        return [{name: found.get(name, nothing) for name in names} for found in out]

    def totals(self, pulls: list[Tensor], **parts: Any) -> Tensor:
        """Return (b, m) float64: `contributions` summed over the parameters."""
        return torch.stack([self._total(found) for found in self.contributions(pulls, **parts)], dim=1)

    def _total(self, found: dict[str, Tensor]) -> Tensor:
        return total(found) if found else self._nothing().double()

    def _nothing(self) -> Tensor:
        """Return (b,) zeros in the precision of sums: the images' own may be whole numbers."""
        return widened(self.logits.detach()).new_zeros(len(self.x))

    def _owned(self, layers: frozenset[str]) -> set[str]:
        return {name for layer in layers for name in self.plan.owned[layer].values()}


def total(contributions: Mapping[str, Tensor]) -> Tensor:
    """Return (b,) float64, the sum over parameters."""
    return torch.stack(list(contributions.values())).double().sum(0)
