"""Squared per-sample gradients: s = sum over parameters of g^2 * weight, exact for every sample (Eq. 21, 25)."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.capture import Capture, evaluating
from fvm_core.influence.fallback import fallback_gradients
from fvm_core.influence.folded_norms import Folded, FoldedNorms
from fvm_core.influence.forward_pass import ForwardPass, total
from fvm_core.influence.half_convs import HalfConvs
from fvm_core.influence.layers import Calls, default_budget, widened
from fvm_core.influence.layers_folded import folded_plan
from fvm_core.influence.plan import Plan, make_plan
from fvm_core.influence.settings import PRECISIONS

HIDDEN_TOP = 4
"""Hidden layers with matrices or filters among the `top_layers`, at most (measured)."""


def residuals(logits: Tensor, labels: Tensor) -> Tensor:
    """Return (b, c) softmax - one-hot: the gradient of cross-entropy at the logits.

    The label's own entry is minus the sum of the others, which keeps its digits where the softmax is nearly one-hot.

    >>> residuals(torch.tensor([[40.0, 0.0]]), torch.tensor([0]))[0, 0].item() < 0
    True
    """
    out = F.softmax(logits, dim=1).scatter(1, labels.unsqueeze(1), 0.0)
    return out.scatter(1, labels.unsqueeze(1), -out.sum(1, keepdim=True))


class SquaredGradients:
    """Scores and sums of squared per-sample gradients of one model on inputs of one shape.

    The model is run in eval mode and left as it was. Memory: one batch's activations and output gradients (of several
    labels: up to HELD_BYTES), `budget` bytes for one layer's per-sample gradients (as many again where a norm's are
    taken from them), never (b, p); and up to three times the parameters, for filters and weights as they are
    multiplied. One thread at a time.
    `precision` "bf16": convolutions (but those of a few channels or with groups) take input, filters and the gradient
    at their output in bf16, sum in fp32 and give bf16, in the passes and in their gradients' squares; so do Linear
    layers on positions in the squares. All between them (biases, norms, what a block adds, the residual) stays fp32:
    with bf16 there too scores keep their order less well (tests/benchmarks/bf16_rank.py). Only where nothing but a ReLU
    stands between two of them does it run in bf16, which rounds nothing more. Parameters without a rule are
    taken from the model in fp32. Without bf16 in hardware the passes are rounded alike, the gradients are not.
    """

    precision = "fp32"

    def __init__(
        self, model: nn.Module, example: Tensor, *, budget: int | None = None, precision: str = "fp32"
    ) -> None:
        if precision not in PRECISIONS:
            raise SettingsError(f"`precision` must be one of {PRECISIONS}, got {precision!r}.")
        self.model, self.budget, self.precision = model, budget or default_budget(example.device), precision
        self.plan: Plan = make_plan(model, example, half=precision == "bf16")
        self._convs = HalfConvs(self.plan.modules, self.plan.rules, self.plan.rectified)
        self._norms = FoldedNorms(
            self.plan.modules,
            self.plan.pairs,
            channels_last=self.plan.channels_last,
            rounded=self._convs.names if precision == "bf16" else frozenset(),
        )

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences on parameters that no layer rule covers."""
        return self.plan.notes

    @contextmanager
    def running(self, x: Tensor, weights: Mapping[str, Tensor]) -> Iterator[ForwardPass]:
        """Run the model on x (b, ...) once, for any number of backward passes within the block."""
        folded = self._norms.now()
        plan = folded_plan(self.plan, folded, set(weights), x)
        local = self._local(plan, weights)
        with self._captured(plan, x, local, folded, half=self.precision == "bf16") as (capture, logits):
            yield ForwardPass(self.model, plan, self.budget, x, weights, local, capture, logits)

    @contextmanager
    def captured(self, x: Tensor, layers: Iterable[str] | None = None) -> Iterator[tuple[Capture, Tensor]]:
        """Run the model in fp32 on x (b, ...) once, with hooks on `layers` (None: all that have a rule); the logits
        (b, c).

        Where samples of a batch affect each other there is no rule, and the logits have no graph.
        """
        with self._captured(self.plan, x, layers, {}) as both:
            yield both

    @contextmanager
    def _captured(
        self,
        plan: Plan,
        x: Tensor,
        layers: Iterable[str] | None,
        folded: Mapping[str, Folded],
        *,
        half: bool = False,
    ) -> Iterator[tuple[Capture, Tensor]]:
        calls = {name: plan.calls[name] for name in (plan.calls if layers is None else layers)}

        def run() -> tuple[Capture, Tensor]:
            halves = self._convs.now(folded) if half else None
            capture = Capture(
                self.model, plan.modules, calls, channels_last=plan.channels_last, folded=folded, halves=halves
            )
            return capture, self._alone(x) if plan.alone else capture.forward(x)

        with evaluating(self.model):
            try:
                found = run()
            except Exception:  # of the model's own code, which may read what a ReLU gives in a way of its own
                if not (half and self._convs.between):
                    raise
                self._convs.between = False
                found = run()
            yield found

    def contributions(
        self, x: Tensor, cotangents: Callable[[Tensor], Tensor], weights: Mapping[str, Tensor]
    ) -> tuple[list[dict[str, Tensor]], Tensor]:
        """Return one {parameter: (b,) sum of weight * gradient^2} for each cotangent, and the logits (b, c).

        `cotangents(logits)` gives (m, b, c): m gradients at the logits; the forward pass is shared by them.
        `weights` has one tensor of the parameter's shape for each parameter that counts; a change through `.data` is
        not seen.
        """
        with self.running(x, weights) as run:
            logits = run.logits.detach()
            return run.contributions(list(cotangents(logits))), logits

    def top_layers(self, weights: Mapping[str, Tensor]) -> frozenset[str]:
        """Return the layers with a rule that run last: the head, and up to four more weight matrices or filters (of a
        small model half of them), above which no backward pass is dear. With `weights` of theirs; empty where there are
        none."""
        own = self.plan.owned
        layers = [name for name in reversed(own) if any(of in weights for of in own[name].values())]
        wide = [name for name in layers if self._is_wide(name)]
        hidden = min(HIDDEN_TOP, len(wide) // 2)
        top = set(layers[: layers.index(wide[hidden]) + 1] if hidden else ())
        # A norm goes with its convolution, of which its gradients may be taken.
        return frozenset(top - {pair.norm for pair in self.plan.pairs if pair.conv not in top})

    def _is_wide(self, layer: str) -> bool:
        weight = getattr(self.plan.modules[layer], "weight", None)
        return weight is not None and weight.dim() > 1

    def sums(self, x: Tensor, y: Tensor, totals: dict[str, Tensor]) -> None:
        """Add the sum over samples of squared gradients of cross-entropy to `totals` {parameter: float64}, in place."""
        self.pulled_sums(x, lambda logits: residuals(logits, y), totals)

    def pulled_sums(self, x: Tensor, pull_of: Callable[[Tensor], Tensor], totals: dict[str, Tensor]) -> None:
        """As `sums`, with the gradient at the logits that `pull_of(logits)` (b, c) gives."""

        folded = self._norms.now()
        plan = folded_plan(self.plan, folded, None, x)

        def consume(layer: str, indices: list[int], many: list[Calls]) -> None:
            module, owned = plan.modules[layer], plan.owned[layer]
            for key, value in plan.rules[layer].summed(module, many[0], self.budget).items():
                totals[owned[key]] += value.view_as(totals[owned[key]])

        with self._captured(plan, x, None, folded, half=self.precision == "bf16") as (capture, logits):
            pull = pull_of(logits.detach())
            capture.backward(logits, [pull], consume)
            if not self.plan.fallback:
                return
            for _, grads in fallback_gradients(
                self.model, self.plan.fallback, x, pull, budget=self.budget, by_loop=self.plan.by_loop
            ):
                for name, value in grads.items():
                    totals[name] += widened(value).square().sum(0).double().view_as(totals[name])

    def scores(self, x: Tensor, y: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return s (b,) float64 for the labels y (b,) and the logits (b, c)."""
        check_labels(y, x)
        found, logits = self.contributions(x, lambda z: residuals(z, y).unsqueeze(0), weights)
        return total(found[0]), logits

    def label_scores(self, x: Tensor, labels: Tensor, weights: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
        """Return s (b, m) float64 for m labels of each sample, `labels` (b, m) int64, and the logits (b, c).

        One forward pass serves all m; a label costs about half of what it costs alone.
        """
        found, logits = self.contributions(x, lambda z: torch.stack([residuals(z, y) for y in labels.t()]), weights)
        return torch.stack([total(part) for part in found], dim=1), logits

    def shapes(self) -> dict[str, torch.Size]:
        """Return the shapes of what `weights` and `totals` may hold: here the parameters'."""
        return {name: value.shape for name, value in self.model.named_parameters()}

    def _local(self, plan: Plan, weights: Mapping[str, Tensor]) -> dict[str, Mapping[str, Tensor]]:
        known = self.shapes()
        kinds = {name: torch.promote_types(p.dtype, torch.float32) for name, p in self.model.named_parameters()}
        if not weights:
            raise SettingsError("`weights` must hold a tensor for at least one parameter, got none.")
        for name, weight in weights.items():
            if name not in known or weight.shape != known[name]:
                raise SettingsError(
                    f"`weights` must hold tensors of the model's parameter shapes, got {name} {tuple(weight.shape)}."
                )
            if weight.dtype != kinds.get(name, weight.dtype):
                raise SettingsError(f"`weights` of {name} must be {kinds[name]} for this model, got {weight.dtype}.")
        local: dict[str, Mapping[str, Tensor]] = {}
        for layer, owned in plan.owned.items():
            chosen = {key: weights[name] for key, name in owned.items() if name in weights}
            if chosen:
                local[layer] = chosen
        return local

    def _alone(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.cat([self.model(sample.unsqueeze(0)) for sample in x])


def check_labels(y: Tensor, x: Tensor) -> None:
    """Raise DataError unless y is one integer label for each row of x, and there is one."""
    if y.dim() != 1 or len(y) != len(x) or y.is_floating_point() or len(y) == 0:
        raise DataError(
            f"`y` must hold one integer label for each of {len(x)} samples, got {tuple(y.shape)} {y.dtype}."
        )


def squared_contributions(model: nn.Module, x: Tensor, y: Tensor, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return {parameter: (b,) sum of weight * (gradient of sample's cross-entropy)^2}, in eval mode."""
    check_labels(y, x)
    engine = SquaredGradients(model, x)
    return engine.contributions(x, lambda z: residuals(z, y).unsqueeze(0), weights)[0][0]


def squared_scores(model: nn.Module, x: Tensor, y: Tensor, weights: Mapping[str, Tensor]) -> Tensor:
    """Return (b,) float64: s = sum over the parameters in `weights` of weight * g^2, >= 0, one g a sample.

    x (b, ...), y (b,) int64, weights {parameter name: tensor of its shape}. For many batches make one
    `SquaredGradients`, which plans once and tells in `notes` which parameters have no exact rule.
    """
    return SquaredGradients(model, x).scores(x, y, weights)[0]
