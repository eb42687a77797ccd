"""Each way to a convolution's per-sample gradient, taken for every kind of convolution, against torch.func.vmap."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap

from fvm_core.influence.conv_ways import Ways, way_for
from fvm_core.influence.layers import BLOCK, MOST_PARTS, SHORT, add_squares, contract, thread_sums
from fvm_core.influence.layers_conv import ConvRule

KINDS: dict[str, tuple[dict[str, Any], tuple[int, ...]]] = {
    "3x3": ({"padding": 1}, (8, 9, 7)),
    "1x1 strided": ({"kernel_size": 1, "stride": 2}, (8, 9, 8)),
    "uneven, strided, dilated": (
        {"kernel_size": (2, 3), "stride": (2, 1), "dilation": (1, 2), "padding": 1},
        (8, 9, 8),
    ),
    "same, even kernel, dilated": ({"kernel_size": (4, 3), "padding": "same", "dilation": (1, 2)}, (8, 8, 7)),
    "reflect": ({"padding": (2, 1), "padding_mode": "reflect"}, (8, 8, 7)),
    "circular, strided": ({"padding": 1, "padding_mode": "circular", "stride": 2}, (8, 8, 7)),
    "replicate": ({"padding": 2, "padding_mode": "replicate", "dilation": 2}, (8, 9, 7)),
    "groups": ({"groups": 4, "padding": 1, "stride": 2}, (8, 9, 8)),
    "groups, reflect, dilated": ({"groups": 2, "padding": 2, "padding_mode": "reflect", "dilation": 2}, (8, 9, 8)),
    "depthwise": ({"groups": 8, "padding": 1}, (8, 9, 8)),
    "1d": ({"padding": 2, "stride": 2, "dilation": 2}, (8, 15)),
    "3d, groups": ({"kernel_size": (1, 2, 3), "padding": 1, "groups": 2}, (8, 3, 5, 4)),
}


def make(kind: str) -> tuple[Any, Tensor, Tensor, Tensor]:
    """A convolution, its input (5, ...), a gradient at its output, and the weight's gradient of each sample."""
    torch.manual_seed(0)
    options, shape = KINDS[kind]
    conv = {2: nn.Conv1d, 3: nn.Conv2d, 4: nn.Conv3d}[len(shape)](8, 16, **{"kernel_size": 3, **options})
    a = torch.randn(5, *shape)
    g = torch.randn_like(conv(a))

    def pulled(weight: Tensor, one: Tensor, pull: Tensor) -> Tensor:
        return (functional_call(conv, {"weight": weight, "bias": conv.bias.detach()}, (one[None],))[0] * pull).sum()

    exact = vmap(grad(pulled), in_dims=(None, 0, 0))(conv.weight.detach(), a, g)
    return conv, a, g, exact.flatten(1)


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize(
    ("kind", "way"),
    # Products are for one input channel a group.
    [(kind, way) for kind in KINDS for way in Ways if way is not Ways.PRODUCTS or kind == "depthwise"],
)
@pytest.mark.parametrize("channels_last", [False, True])
def test_every_way_equals_vmap(kind: str, way: Ways, channels_last: bool) -> None:
    conv, a, g, exact = make(kind)
    if channels_last:
        a, g = (value.movedim(1, -1).contiguous().movedim(-1, 1) for value in (a, g))
    found = ConvRule().grads_by(way, conv, a, g)["weight"]
    torch.testing.assert_close(found, exact, rtol=1e-5, atol=1e-5 * float(exact.abs().max()))


@pytest.mark.filterwarnings("ignore:Using padding='same'")
@pytest.mark.parametrize("way", [None, Ways.GROUPED])  # None: the one for these small shapes
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("budget", [1, 2**13, 2**25])
def test_sums_equal_vmap_for_any_budget(
    kind: str, budget: int, way: Ways | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    if way is not None:
        monkeypatch.setattr("fvm_core.influence.layers_conv.way_for", lambda module, a, g: way)
    conv, a, g, exact = make(kind)
    rule, weight = ConvRule(), torch.rand_like(conv.weight)
    squares, bias = exact.double().square(), g.double().flatten(2).sum(2).square()
    pulls = [g, 2 * g, torch.zeros_like(g)]
    expected = squares @ weight.flatten().double(), bias.sum(1)
    found = rule.weighted_many(
        conv, [[(a, pull)] for pull in pulls], {"weight": weight, "bias": torch.ones(16)}, budget
    )
    for part, scale in zip(found, (1, 4, 0), strict=True):
        for name, value in zip(("weight", "bias"), expected, strict=True):
            torch.testing.assert_close(part[name].double(), scale * value, rtol=1e-5, atol=0)
    summed = rule.summed(conv, [(a, g)], budget)
    found = summed["weight"].double().reshape(-1)
    torch.testing.assert_close(found, squares.sum(0), rtol=1e-5, atol=1e-6 * float(squares.max()))
    torch.testing.assert_close(summed["bias"].double(), bias.sum(0), rtol=1e-5, atol=0)


def test_changed_weights_are_not_taken_for_the_last_ones() -> None:
    torch.manual_seed(0)
    conv, a = nn.Conv2d(8, 8, 3), torch.randn(3, 8, 5, 5)
    rule, g, weight = ConvRule(), torch.randn(3, 8, 3, 3), torch.ones_like(conv.weight)
    assert way_for(conv, a, g) is Ways.CHANNELS
    first = rule.weighted(conv, [(a, g)], {"weight": weight}, 2**20)["weight"]
    weight[:, 1:] = 0
    second = rule.weighted(conv, [(a, g)], {"weight": weight}, 2**20)["weight"]
    fresh = ConvRule().weighted(conv, [(a, g)], {"weight": weight}, 2**20)["weight"]
    assert (second < first).all() and torch.equal(second, fresh)


def test_images_of_two_sizes_do_not_share_weights_laid_out_for_one() -> None:
    torch.manual_seed(0)
    conv, rule = nn.Conv2d(16, 4, 3, padding=1), ConvRule()
    weight = torch.rand_like(conv.weight)
    for side in (8, 16):
        a, g = torch.randn(2, 16, side, side), torch.randn(2, 4, side, side)
        found = rule.weighted(conv, [(a, g)], {"weight": weight}, 2**20)["weight"]
        fresh = ConvRule().weighted(conv, [(a, g)], {"weight": weight}, 2**20)["weight"]
        assert torch.equal(found, fresh)


def test_long_sums_keep_their_digits() -> None:
    torch.manual_seed(0)
    grads, weight = torch.randn(2, 5 * BLOCK + 7), torch.rand(5 * BLOCK + 7)
    exact = grads.double().square()
    torch.testing.assert_close(contract(grads.square(), weight).double(), exact @ weight.double(), rtol=1e-6, atol=0)


@pytest.mark.parametrize("threads", [1, 2, 3, 5])
@pytest.mark.parametrize(("samples", "elements"), [(6, SHORT - 1), (6, SHORT), (5, BLOCK + 7), (1, SHORT)])
def test_squares_add_up_whatever_the_threads(
    threads: int, samples: int, elements: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    torch.manual_seed(0)
    totals, exact = thread_sums(torch.empty(1), elements), torch.zeros(elements, dtype=torch.float64)
    assert len(totals) == (threads if threads <= MOST_PARTS else 1)
    for grads in (torch.randn(samples, elements), torch.randn(samples + 1, elements)):
        exact += grads.double().square().sum(0)
        add_squares(totals, grads)
    torch.testing.assert_close(totals.sum(0).double(), exact, rtol=1e-6, atol=0)


@pytest.mark.parametrize("budget", [2**18, 2**20])
def test_gradients_and_patches_keep_to_the_budget(budget: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whole filters of a few samples at once, a few filters where one sample's gradient is too large."""
    torch.manual_seed(0)
    conv, rule, asked = nn.Conv2d(64, 128, 3, padding=1), ConvRule(), []
    room = rule.scratch.room
    monkeypatch.setattr(
        rule.scratch, "room", lambda name, shape, like: (asked.append(shape), room(name, shape, like))[1]
    )
    a = torch.randn(24, 64, 4, 4)
    g = torch.randn_like(conv(a))
    weights = {"weight": torch.rand_like(conv.weight)}
    found = rule.weighted(conv, [(a, g)], weights, budget)["weight"]
    sums = rule.summed(conv, [(a, g)], budget)["weight"]
    bytes_ = [4 * torch.Size(shape).numel() for shape in asked]
    # Four samples share large weights, and 32 filters are multiplied at once, whatever the budget.
    assert len(asked) > 8 and max(bytes_) <= max(budget, 4 * 32 * 64 * 9 * 4)
    exact = rule.grads(conv, a, g)["weight"].double().square()
    torch.testing.assert_close(found.double(), exact @ weights["weight"].flatten().double(), rtol=1e-5, atol=0)
    torch.testing.assert_close(sums.flatten().double(), exact.sum(0), rtol=1e-4, atol=1e-6 * float(exact.sum(0).max()))
