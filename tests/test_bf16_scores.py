"""Per-sample gradients of bf16 operands, summed in fp32, against fp32: the same order, nothing else is rounded."""

from __future__ import annotations

import pytest
import torch
from scipy.stats import spearmanr
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.plan import rule_for
from fvm_core.models.resnet import CifarResNet


def noisy_digits(samples: int) -> tuple[Tensor, Tensor]:
    """Real 8x8 images (b, 1, 8, 8) in [-1, 1], three in ten with a random label."""
    from sklearn.datasets import load_digits

    x, y = (torch.from_numpy(part[:samples]) for part in load_digits(return_X_y=True))
    generator = torch.Generator().manual_seed(0)
    wrong = torch.rand(samples, generator=generator) < 0.3
    y = torch.where(wrong, torch.randint(0, 10, (samples,), generator=generator), y)
    return x.float().view(-1, 1, 8, 8) / 8 - 1, y


@pytest.fixture(scope="module")
def trained() -> nn.Module:
    """A narrow ResNet, some epochs into the noisy labels: its scores are small and large."""
    torch.manual_seed(0)
    model = CifarResNet((1, 1, 1), num_classes=10, width=8, in_channels=1)
    x, y = noisy_digits(600)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    for _ in range(6):
        for rows in torch.randperm(600).split(50):
            optimizer.zero_grad()
            F.cross_entropy(model(x[rows]), y[rows]).backward()
            optimizer.step()
    return model.eval()


def scores(model: nn.Module, precision: str, x: Tensor, y: Tensor) -> Tensor:
    """s with a Fisher of the same precision."""
    engine = SquaredGradients(model, x[:5], precision=precision)
    fisher = fisher_diagonal(model, [(x[:200], y[:200])], engine=engine)
    return engine.scores(x[200:], y[200:], inverse_fisher(fisher, damping=1e-8))[0]


def test_bf16_keeps_the_order_of_fp32(trained: nn.Module) -> None:
    x, y = noisy_digits(600)
    whole, half = scores(trained, "fp32", x, y), scores(trained, "bf16", x, y)
    assert not torch.allclose(whole, half, rtol=1e-5), "bf16 was not used"
    assert spearmanr(whole, half).statistic > 0.9999


def test_a_head_without_layers_below_it_is_not_rounded() -> None:
    torch.manual_seed(0)
    model, x, y = nn.Linear(20, 4), 5 * torch.randn(12, 20), torch.randint(0, 4, (12,))
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    whole, half = (SquaredGradients(model, x, precision=kind).scores(x, y, weights)[0] for kind in ("fp32", "bf16"))
    assert torch.equal(whole, half)


LAYERS = {
    "convolution": (nn.Conv2d(8, 12, 3, padding=1), (8, 9, 9)),
    "wide convolution": (nn.Conv2d(40, 48, 3), (40, 5, 5)),
    "groups": (nn.Conv2d(8, 8, 3, groups=2), (8, 6, 6)),
    "depthwise": (nn.Conv2d(4, 4, 3, groups=4), (4, 6, 6)),
    "linear": (nn.Linear(7, 5), (7,)),
    "sequence": (nn.Linear(7, 5), (6, 7)),
    "batch norm": (nn.BatchNorm2d(4).eval(), (4, 6, 6)),
    "layer norm": (nn.LayerNorm(7), (6, 7)),
}


@pytest.mark.parametrize("native", [False, True])
@pytest.mark.parametrize("name", LAYERS)
def test_sums_over_bf16_activations_are_taken_in_fp32(name: str, native: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A rule's results are those of fp32 tensors with the same values: to the digits of fp32, or where the processor
    multiplies bf16, with each gradient rounded once (8 bits)."""
    monkeypatch.setattr("fvm_core.influence.layers.has_bf16", lambda device: native)
    close = 2**-7 if native else 1e-5
    torch.manual_seed(0)
    module, shape = LAYERS[name]
    a = torch.randn(5, *shape)
    pulls = [torch.randn_like(module(a)).detach().bfloat16() for _ in range(6)]
    rule = rule_for(module)
    assert rule is not None
    weights = {key: torch.rand_like(value) for key, value in module.named_parameters()}
    half, a = a.bfloat16(), a.bfloat16().float()
    for found, expected in zip(
        rule.weighted_many(module, [[(half, g)] for g in pulls], weights, 2**20),
        rule.weighted_many(module, [[(a, g.float())] for g in pulls], weights, 2**20),
        strict=True,
    ):
        for key in weights:
            assert found[key].dtype == torch.float32
            torch.testing.assert_close(found[key], expected[key], rtol=close, atol=0)
    sums = rule.summed(module, [(half, pulls[0])], 2**20), rule.summed(module, [(a, pulls[0].float())], 2**20)
    for key in weights:
        torch.testing.assert_close(sums[0][key], sums[1][key], rtol=2 * close if native else close, atol=1e-5)


def test_an_unknown_precision_is_named() -> None:
    with pytest.raises(SettingsError, match=r"`precision` must be one of .*, got 'fp16'"):
        SquaredGradients(nn.Linear(3, 2), torch.randn(2, 3), precision="fp16")
