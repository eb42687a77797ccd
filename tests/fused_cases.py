"""Run by test_fused.py under Triton's interpreter, on a CPU: the kernels against torch.func.vmap of plain PyTorch."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from test_layers_conv import KINDS, make
from test_per_sample import CLASSES, by_vmap, jitter, random_weights
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fvm_core.influence import fused, layers_conv
from fvm_core.influence.fused import fused_summed, fused_weighted, usable
from fvm_core.influence.per_sample import SquaredGradients, residuals
from fvm_core.influence.relabel import all_labels
from fvm_core.models.resnet import CifarResNet

WIDE: dict[str, tuple[Any, tuple[int, ...]]] = {
    "several tiles each way": (lambda: nn.Conv2d(13, 70, 3, padding=1, bias=False), (13, 5, 4)),
    "one column, one filter": (lambda: nn.Conv2d(1, 1, 1), (1, 3, 3)),
    "more positions than a step": (lambda: nn.Conv2d(5, 17, 3, stride=2), (5, 15, 13)),
    "groups of odd size": (lambda: nn.Conv2d(9, 21, (3, 2), groups=3, padding=(2, 0), dilation=(2, 1)), (9, 6, 5)),
    "sequence": (lambda: nn.Linear(11, 19), (7, 11)),
    "grid of vectors": (lambda: nn.Linear(70, 5, bias=False), (2, 3, 70)),
}
SMALL = (
    "1x1 strided",
    "uneven, strided, dilated",
    "same, even kernel, dilated",
    "reflect",
    "groups",
    "1d",
    "3d, groups",
)


def wide(kind: str) -> tuple[Any, Tensor, Tensor, Tensor]:
    """A layer, its input (4, ...), a gradient at its output, and the weight's gradient of each sample."""
    torch.manual_seed(0)
    module, a = WIDE[kind][0](), torch.randn(4, *WIDE[kind][1])
    g = torch.randn_like(module(a))
    rest = {name: value.detach() for name, value in module.named_parameters() if name != "weight"}

    def pulled(weight: Tensor, one: Tensor, pull: Tensor) -> Tensor:
        return (functional_call(module, {"weight": weight, **rest}, (one[None],))[0] * pull).sum()

    return module, a, g, vmap(grad(pulled), in_dims=(None, 0, 0))(module.weight.detach(), a, g).flatten(1)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("kind", [*SMALL, *WIDE])
def test_kernels_equal_vmap(kind: str) -> None:
    module, a, g, exact = make(kind) if kind in KINDS else wide(kind)
    a, g, exact = a[:3], g[:3], exact[:3]
    if kind in ("groups", "several tiles each way", "3d, groups"):  # laid out channels last
        a, g = (value.movedim(1, -1).contiguous().movedim(-1, 1) for value in (a, g))
    weight, squares = torch.rand_like(module.weight), exact.double().square()
    expected = squares @ weight.flatten().double()
    found = fused_weighted(module, a, torch.stack([g, -3 * g], dim=1), weight.detach())
    for label, scale in enumerate((1, 9)):
        torch.testing.assert_close(found[:, label].double(), scale * expected, rtol=1e-5, atol=0)
    summed = fused_summed(module, a, g).double()
    torch.testing.assert_close(summed, squares.sum(0), rtol=1e-5, atol=1e-6 * float(squares.max()))


def test_sums_split_among_programs_are_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    module, a, g, exact = wide("groups of odd size")
    for programs in (1, 6, 1000):
        monkeypatch.setattr(fused, "PROGRAMS", programs)
        torch.testing.assert_close(fused_summed(module, a, g), exact.square().sum(0), rtol=1e-5, atol=1e-4)


def test_half_precision_is_multiplied_out_in_fp32() -> None:
    # fp16: the interpreter multiplies the bits of bf16 as if they were integers. The machine code is made of both.
    module, a, g, _ = make("3x3")
    a, g = a.half(), g.half()
    weight = torch.rand_like(module.weight).detach()
    whole = fused_weighted(module, a.float(), g.float().unsqueeze(1), weight)
    torch.testing.assert_close(fused_weighted(module, a, g.unsqueeze(1), weight), whole, rtol=1e-5, atol=0)
    torch.testing.assert_close(fused_summed(module, a, g), fused_summed(module, a.float(), g.float()))


def test_whole_network_equals_vmap_without_the_plain_way(monkeypatch: pytest.MonkeyPatch) -> None:
    torch.manual_seed(0)
    model = jitter(CifarResNet((1, 1), num_classes=CLASSES, width=4))
    x, y, weights = torch.randn(3, 3, 8, 8), torch.randint(0, CLASSES, (3,)), random_weights(model)
    for plain in ("by_grouped_convolution", "columns_of"):
        monkeypatch.delattr(layers_conv, plain)
    engine = SquaredGradients(model, x)
    every = all_labels(engine, x, y, weights).scores
    for label in range(CLASSES):
        expected = sum(by_vmap(model, x, torch.full((3,), label), weights).values())
        torch.testing.assert_close(every[:, label].float(), expected, rtol=1e-5, atol=0)
    totals = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in model.named_parameters()}
    engine.pulled_sums(x, lambda logits: residuals(logits, y), totals)
    whole = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    for name, value in by_vmap(model, x, y, whole).items():
        assert float(totals[name].sum()) == pytest.approx(float(value.sum()), rel=1e-5)


def test_layers_that_the_kernels_leave_alone() -> None:
    a = torch.randn(2, 4, 5, 5)
    depthwise, head = nn.Conv2d(4, 4, 3, groups=4), nn.Linear(4, 2)
    assert not usable(depthwise, a, depthwise(a)) and not usable(head, a[:, :, 0, 0], head(a[:, :, 0, 0]))
    conv = nn.Conv2d(4, 6, 3)
    assert usable(conv, a, conv(a)) and not usable(conv.double(), a.double(), conv(a.double()))


def test_a_device_is_trusted_only_where_the_numbers_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    fused.trusted.cache_clear()
    assert fused.trusted(torch.device("cpu"), torch.float32)
    fused.trusted.cache_clear()
    monkeypatch.setattr(fused, "fused_summed", lambda *parts: 1.1 * fused_summed(*parts))
    with pytest.warns(UserWarning, match="give other numbers on cpu: plain PyTorch is used"):
        assert not fused.trusted(torch.device("cpu"), torch.float32)
    fused.trusted.cache_clear()

    def broken(*parts: object) -> Tensor:
        raise RuntimeError("no shared memory")

    monkeypatch.setattr(fused, "fused_weighted", broken)
    with pytest.warns(UserWarning, match="do not run on cpu: plain PyTorch is used. no shared memory"):
        assert not fused.trusted(torch.device("cpu"), torch.float32)
    fused.trusted.cache_clear()
