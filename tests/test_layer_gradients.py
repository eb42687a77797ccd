"""Gradients handed out by layer against torch.func.vmap."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fvm_core.influence.layer_gradients import layers_of, visit_gradients
from fvm_core.influence.per_sample import SquaredGradients, residuals


class Scaled(nn.Module):
    """A model with a parameter that no layer rule covers."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 6, 3, padding=1, bias=True), nn.BatchNorm2d(6), nn.ReLU(), nn.Flatten(), nn.Linear(6 * 25, 4)
        )
        self.scale = nn.Parameter(torch.tensor([1.5, 0.5, 2.0, 1.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x) * self.scale


@pytest.mark.parametrize("budget", [2**25, 4 * 400], ids=["at once", "piece by piece"])
def test_visit_gradients_equals_vmap(budget: int) -> None:
    torch.manual_seed(0)
    model = Scaled().eval()
    x, y = torch.randn(7, 3, 5, 5), torch.randint(4, (7,))
    engine = SquaredGradients(model, x, budget=budget)
    found: dict[str, list[Tensor]] = {}
    seen: dict[str, set[str]] = {}

    def visit(layer: str, rows: slice, grads: dict[str, Tensor]) -> None:
        for name, value in grads.items():
            assert sum(len(piece) for piece in found.get(name, [])) == rows.start
            found.setdefault(name, []).append(value.clone())
            seen.setdefault(layer, set()).add(name)

    logits = visit_gradients(engine, x, lambda z: residuals(z, y), visit)
    assert {layer: set(names) for layer, names in layers_of(engine).items()} == seen
    values = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(values: dict[str, Tensor], one: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (one[None],)), label[None])

    exact = vmap(grad(loss), in_dims=(None, 0, 0))(values, x, y)
    assert set(found) == set(exact)
    for name, pieces in found.items():
        torch.testing.assert_close(torch.cat(pieces), exact[name].flatten(1), rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(logits, model(x))
