"""ReLUs that stand alone between convolutions: found in the graph, run in bf16, and no other."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence.per_sample import SquaredGradients


class Net(nn.Module):
    """A stem, two convolutions with `way` between them, and a head."""

    def __init__(self, way: str) -> None:
        super().__init__()
        self.way, self.norm = way, nn.BatchNorm2d(16) if way == "norm" else nn.Identity()
        self.stem, self.first, self.second = (nn.Conv2d(16, 16, 3, padding=1) for _ in range(3))
        self.fc = nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.tanh(self.stem(x))
        y = self.norm(self.first(x))
        z = y.relu_() if self.way == "in place" else torch.tanh(y) if self.way == "tanh" else F.relu(y)
        out = self.second(F.max_pool2d(z, 2) if self.way == "pooled" else z)
        if self.way == "twice":
            out = self.second(out)
        if self.way == "added":
            out = out + z
        if self.way == "read before":
            out = out + y
        return self.fc(out.mean((2, 3)))


@pytest.mark.parametrize(
    ("way", "behind"),
    [
        ("plain", (None, {"second"})), ("norm", ("norm", {"second"})), ("in place", (None, {"second"})),
        ("tanh", None), ("pooled", None), ("twice", None), ("added", None), ("read before", None),
    ],
)  # fmt: skip
def test_only_a_relu_alone_runs_in_bf16(
    way: str, behind: tuple[str | None, set[str]] | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    torch.manual_seed(0)
    model, x, y = Net(way).eval(), torch.randn(5, 16, 6, 6), torch.randint(3, (5,))
    engine = SquaredGradients(model, x, precision="bf16")
    assert {
        name: (each.norm, set(each.readers)) for name, each in engine.plan.rectified.items()
    } == ({} if behind is None else {"first": behind})  # fmt: skip
    seen: list[torch.dtype] = []
    relu, conv = F.relu, nn.Conv2d._conv_forward

    def noting(a: Tensor, *rest: Any) -> Tensor:
        seen.append(a.dtype)
        return relu(a, *rest)

    monkeypatch.setattr(F, "relu", noting)
    weights = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    score = engine.scores(x, y, weights)[0]
    if way not in ("in place", "tanh"):
        assert seen == [torch.float32 if behind is None else torch.bfloat16]
    assert nn.Conv2d._conv_forward is conv
    whole = SquaredGradients(model, x).scores(x, y, weights)[0]
    torch.testing.assert_close(score, whole, rtol=0.1, atol=0)
    assert (score != whole).any()


def test_a_reader_that_somebody_watches_gets_fp32() -> None:
    """It runs as it is, in fp32, and so does the ReLU before it."""
    torch.manual_seed(0)
    model, x, y = Net("plain").eval(), torch.randn(5, 16, 6, 6), torch.randint(3, (5,))
    engine, seen = SquaredGradients(model, x, precision="bf16"), []
    handle = model.second.register_forward_hook(lambda module, args, out: seen.append((args[0].dtype, out.dtype)))
    engine.scores(x, y, {name: torch.ones_like(value) for name, value in model.named_parameters()})
    handle.remove()
    assert seen == [(torch.float32, torch.float32)]


class Reader(nn.Module):
    """Looks at what the ReLU gives beside the graph: `look` wants fp32."""

    def __init__(self, look: Callable[[Tensor], Any], batch: int = 0) -> None:
        super().__init__()
        self.look, self.batch = look, batch
        self.first, self.second, self.fc = nn.Conv2d(16, 16, 3), nn.Conv2d(16, 16, 3), nn.Linear(16, 3)

    def forward(self, x: Tensor) -> Tensor:
        z = F.relu(self.first(x))
        if len(x) > self.batch:
            self.look(z.detach())
        return self.fc(self.second(z).mean((2, 3)))


@pytest.mark.parametrize("batch", [0, 4])
@pytest.mark.parametrize("kind", ["numpy", "product", "statistics"])
def test_who_reads_beside_the_graph_gets_fp32(kind: str, batch: int) -> None:
    """Even if only in large batches, which the plan has not met: the model's own error is no end."""
    torch.manual_seed(0)
    matrix, mean = torch.randn(16, 2), torch.zeros(16)
    looks: dict[str, Callable[[Tensor], Any]] = {
        "numpy": lambda z: z.numpy(),
        "product": lambda z: z.mean((2, 3)) @ matrix,
        "statistics": lambda z: mean.lerp_(z.mean((0, 2, 3)), 0.1),
    }
    model, x, y = Reader(looks[kind], batch).eval(), torch.randn(6, 16, 6, 6), torch.randint(3, (6,))
    weights = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    engine, plain = SquaredGradients(model, x, precision="bf16"), SquaredGradients(model, x, precision="bf16")
    plain._convs.between = False
    assert set(engine.plan.rectified) == {"first"}
    for _ in range(2):
        assert torch.equal(engine.scores(x, y, weights)[0], plain.scores(x, y, weights)[0])
    totals = [{name: torch.zeros_like(value, dtype=torch.float64) for name, value in weights.items()} for _ in "ab"]
    engine.sums(x, y, totals[0])
    plain.sums(x, y, totals[1])
    assert all(torch.equal(totals[0][name], totals[1][name]) for name in weights)


def test_an_error_of_the_model_is_told_as_it_is() -> None:
    model = Reader(lambda z: 1 / 0, batch=5).eval()
    x, y = torch.randn(6, 16, 6, 6), torch.randint(3, (6,))
    engine = SquaredGradients(model, x[:5], precision="bf16")
    with pytest.raises(ZeroDivisionError):
        engine.scores(x, y, {name: torch.ones_like(value) for name, value in model.named_parameters()})


@pytest.mark.parametrize("late", [False, True])
def test_a_hook_on_the_relu_gets_fp32(late: bool) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(16, 16, 3), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 3)).eval()
    x, y, seen = torch.randn(5, 16, 6, 6), torch.randint(3, (5,)), []
    weights = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    engine = SquaredGradients(model, x, precision="bf16") if late else None
    handle = model[1].register_forward_hook(lambda module, args, out: seen.append(out.dtype))
    engine = engine or SquaredGradients(model, x, precision="bf16")
    seen.clear()
    engine.scores(x, y, weights)
    handle.remove()
    assert seen == [torch.float32]


def test_without_bf16_in_hardware_the_same_values_are_rounded(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model, x, y = Net("norm").eval(), torch.randn(5, 16, 6, 6), torch.randint(3, (5,))
    weights = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    found = []
    for native in (True, False):
        for module in ("layers", "half_convs"):
            monkeypatch.setattr(f"fvm_core.influence.{module}.has_bf16", lambda device, native=native: native)
        found.append(SquaredGradients(model, x, precision="bf16").scores(x, y, weights)[0])
    torch.testing.assert_close(*found, rtol=2e-2, atol=0)
