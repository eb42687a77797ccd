"""Per-sample gradients handed out layer by layer and piece by piece: (b, p) never exists as a whole."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import Tensor

from fvm_core.influence.fallback import fallback_gradients
from fvm_core.influence.layers import Calls
from fvm_core.influence.per_sample import SquaredGradients

Visit = Callable[[str, slice, Mapping[str, Tensor]], None]
"""visit(layer, rows, {parameter: (rows, elements)}); a parameter without a layer rule is a layer of its own name."""


def layers_of(engine: SquaredGradients) -> dict[str, tuple[str, ...]]:
    """Return {layer: its parameters' names}, as `visit_gradients` groups them: all parameters, each once."""
    layers = {layer: tuple(owned.values()) for layer, owned in engine.plan.owned.items()}
    return layers | {name: (name,) for name in engine.plan.fallback}


def visit_gradients(engine: SquaredGradients, x: Tensor, pull: Callable[[Tensor], Tensor], visit: Visit) -> Tensor:
    """Call `visit` with the gradients of sum_c(logits * pull(logits)), one row a sample; return the logits (b, c).

    x (b, ...); `pull(logits)` is (b, c), the gradient at the logits: `residuals(logits, y)` for cross-entropy. Eval
    mode. Rows of a layer come in order, a few at a time within the engine's budget; each layer's rows are complete
    before the call returns. The tensors are the caller's to change.
    """
    with engine.captured(x) as (capture, logits):
        plan, cotangent = engine.plan, pull(logits.detach())

        def consume(layer: str, indices: list[int], many: list[Calls]) -> None:
            module, owned = engine.model.get_submodule(layer), plan.owned[layer]
            for rows, grads in plan.rules[layer].pieces(module, many[0], engine.budget):
                visit(layer, rows, {owned[key]: value for key, value in grads.items()})

        capture.backward(logits, [cotangent], consume)
        if plan.fallback:
            for rows, grads in fallback_gradients(
                engine.model, plan.fallback, x, cotangent, budget=engine.budget, by_loop=plan.by_loop
            ):
                for name, value in grads.items():
                    visit(name, rows, {name: value})
    return logits.detach()
