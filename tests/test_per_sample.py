"""Squared per-sample gradients against torch.func.vmap(grad) of plain cross-entropy, layer by layer."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, vmap
from torch.nn import functional as F

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.per_sample import SquaredGradients, residuals, squared_contributions, squared_scores
from fvm_core.models.resnet import CifarResNet

CLASSES = 4


def by_vmap(model: nn.Module, x: Tensor, y: Tensor, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    """{parameter: (b,)} from gradients of one sample's cross-entropy, no code of ours."""
    parameters = {name: value.detach() for name, value in model.named_parameters()}
    buffers = dict(model.named_buffers())

    def loss(values: dict[str, Tensor], sample: Tensor, label: Tensor) -> Tensor:
        return F.cross_entropy(functional_call(model, {**values, **buffers}, (sample[None],)), label[None])

    grads = vmap(grad(loss), in_dims=(None, 0, 0))(parameters, x, y)
    return {name: (value.square() * weights[name]).flatten(1).sum(1) for name, value in grads.items()}


def random_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: torch.rand_like(value) + 0.1 for name, value in model.named_parameters()}


def jitter(model: nn.Module) -> nn.Module:
    """Running statistics and norm parameters away from their starting values."""
    for module in model.modules():
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and module.running_mean is not None:
            module.running_mean.uniform_(-0.5, 0.5)
            module.running_var.uniform_(0.5, 2.0)
        if (
            isinstance(module, nn.modules.batchnorm._BatchNorm | nn.GroupNorm | nn.LayerNorm)
            and module.weight is not None
        ):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            if module.bias is not None:
                nn.init.uniform_(module.bias, -0.5, 0.5)
    return model.eval()


def assert_equal_to_vmap(model: nn.Module, x: Tensor, *, fallback: tuple[str, ...] = ()) -> SquaredGradients:
    y = torch.randint(0, CLASSES, (len(x),))
    weights = random_weights(model)
    expected = by_vmap(model, x, y, weights)
    engine = SquaredGradients(model, x)
    assert set(engine.plan.fallback) == set(fallback)
    found = squared_contributions(model, x, y, weights)
    assert set(found) == set(expected)
    for name, value in expected.items():
        torch.testing.assert_close(found[name], value, rtol=1e-5, atol=1e-5 * value.abs().max().item(), msg=name)
    s, _ = engine.scores(x, y, weights)
    torch.testing.assert_close(s.float(), sum(expected.values()), rtol=1e-5, atol=0)
    return engine


def head(features: int) -> list[nn.Module]:
    return [nn.Flatten(), nn.Linear(features, CLASSES)]


CONVS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "plain": (lambda: nn.Conv2d(3, 5, 3), (3, 8, 7)),
    "no bias": (lambda: nn.Conv2d(3, 5, 3, bias=False), (3, 8, 7)),
    "1x1": (lambda: nn.Conv2d(3, 5, 1), (3, 6, 6)),
    "1x1 strided": (lambda: nn.Conv2d(3, 5, 1, stride=2), (3, 7, 6)),
    "padded": (lambda: nn.Conv2d(3, 5, 3, padding=1), (3, 8, 7)),
    "uneven kernel and padding": (lambda: nn.Conv2d(3, 5, (3, 2), padding=(2, 1)), (3, 8, 7)),
    "strided": (lambda: nn.Conv2d(3, 5, 3, stride=2, padding=1), (3, 8, 8)),
    "strided, rows left over": (lambda: nn.Conv2d(3, 5, 3, stride=(3, 2)), (3, 10, 8)),
    "dilated": (lambda: nn.Conv2d(3, 5, 3, dilation=2, padding=1), (3, 9, 8)),
    "dilated, strided": (lambda: nn.Conv2d(3, 5, (2, 3), dilation=(2, 1), stride=2, padding=2), (3, 9, 8)),
    "same": (lambda: nn.Conv2d(3, 5, (4, 3), padding="same", dilation=(1, 2)), (3, 8, 7)),
    "valid": (lambda: nn.Conv2d(3, 5, 3, padding="valid"), (3, 8, 7)),
    "reflect": (lambda: nn.Conv2d(3, 5, 3, padding=(2, 1), padding_mode="reflect"), (3, 8, 7)),
    "circular": (lambda: nn.Conv2d(3, 5, 3, padding=(2, 1), padding_mode="circular"), (3, 8, 7)),
    "replicate": (lambda: nn.Conv2d(3, 5, 3, padding=(2, 1), padding_mode="replicate", stride=2), (3, 8, 7)),
    "same, reflect": (lambda: nn.Conv2d(3, 5, 4, padding="same", padding_mode="reflect"), (3, 8, 7)),
    "grouped": (lambda: nn.Conv2d(4, 6, 3, groups=2, padding=1), (4, 8, 7)),
    "grouped, strided, dilated": (lambda: nn.Conv2d(6, 9, 3, groups=3, stride=2, dilation=2, padding=2), (6, 9, 9)),
    "depthwise": (lambda: nn.Conv2d(4, 4, 3, groups=4, padding=1), (4, 8, 7)),
    "depthwise, two filters": (lambda: nn.Conv2d(4, 8, 3, groups=4, stride=2, padding=1), (4, 8, 7)),
    "one channel": (lambda: nn.Conv2d(1, 5, 3, padding=1), (1, 8, 8)),
    "1d": (lambda: nn.Conv1d(3, 5, 3, padding=1, stride=2), (3, 9)),
    "1d depthwise circular": (lambda: nn.Conv1d(4, 4, 3, padding=2, groups=4, padding_mode="circular"), (4, 9)),
    "3d": (lambda: nn.Conv3d(2, 4, (2, 3, 3), padding=1, stride=(1, 2, 1)), (2, 4, 6, 5)),
    "3d grouped": (lambda: nn.Conv3d(4, 4, 2, groups=2, dilation=(1, 2, 1)), (4, 4, 6, 5)),
}


@pytest.mark.parametrize("name", CONVS)
def test_conv_equals_vmap(name: str) -> None:
    torch.manual_seed(0)
    make, shape = CONVS[name]
    conv = make()
    x = torch.randn(7, *shape)
    model = nn.Sequential(conv, nn.Tanh(), *head(conv(x)[0].numel())).eval()
    assert_equal_to_vmap(model, x)


@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize(("ci", "co", "k", "stride", "size"), [(8, 8, 3, 1, 16), (8, 16, 3, 2, 16), (16, 24, 3, 1, 4),
                                                               (16, 8, 1, 2, 8), (24, 32, 5, 1, 8)])  # fmt: skip
def test_conv_in_the_middle_equals_vmap(ci: int, co: int, k: int, stride: int, size: int, channels_last: bool) -> None:
    torch.manual_seed(1)
    model = jitter(nn.Sequential(
        nn.Conv2d(3, ci, 3, padding=1, bias=False), nn.BatchNorm2d(ci), nn.ReLU(inplace=True),
        nn.Conv2d(ci, co, k, stride, k // 2, bias=False), nn.BatchNorm2d(co), nn.ReLU(),
        nn.AdaptiveAvgPool2d(1), *head(co),
    ))  # fmt: skip
    x = torch.randn(9, 3, size, size)
    if channels_last:
        model, x = model.to(memory_format=torch.channels_last), x.to(memory_format=torch.channels_last)
    assert_equal_to_vmap(model, x)


NORMS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...]]] = {
    "batchnorm1d (b, c)": (lambda: nn.BatchNorm1d(6), (6,)),
    "batchnorm1d (b, c, l)": (lambda: nn.BatchNorm1d(6), (6, 5)),
    "batchnorm2d": (lambda: nn.BatchNorm2d(4), (4, 5, 3)),
    "batchnorm3d": (lambda: nn.BatchNorm3d(4), (4, 2, 5, 3)),
    "batchnorm without affine": (lambda: nn.BatchNorm2d(4, affine=False), (4, 5, 3)),
    "groupnorm": (lambda: nn.GroupNorm(2, 6), (6, 4, 4)),
    "groupnorm (b, c)": (lambda: nn.GroupNorm(2, 6), (6,)),
    "groupnorm as instance norm": (lambda: nn.GroupNorm(6, 6), (6, 5)),
    "layernorm (b, d)": (lambda: nn.LayerNorm(6), (6,)),
    "layernorm (b, l, d)": (lambda: nn.LayerNorm(6), (5, 6)),
    "layernorm over two axes": (lambda: nn.LayerNorm((5, 6)), (3, 5, 6)),
    "layernorm without bias": (lambda: nn.LayerNorm(6, bias=False), (5, 6)),
}


@pytest.mark.parametrize("name", NORMS)
def test_norm_equals_vmap(name: str) -> None:
    torch.manual_seed(0)
    make, shape = NORMS[name]
    x = torch.randn(6, *shape)
    model = jitter(nn.Sequential(make(), nn.Tanh(), make(), nn.ReLU(), *head(x[0].numel())))
    assert_equal_to_vmap(model, x)


class Repeated(nn.Module):
    """One Linear, one Conv and one BatchNorm, each run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 3, padding=1)
        self.norm = nn.BatchNorm2d(3)
        self.mix = nn.Linear(12, 12)
        self.head = nn.Linear(12, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        for _ in range(2):
            x = torch.tanh(self.norm(self.conv(x)))
        x = x.flatten(1)
        return self.head(self.mix(torch.relu(self.mix(x))))


class Sequence(nn.Module):
    """Linear and LayerNorm on (b, l, d)."""

    def __init__(self) -> None:
        super().__init__()
        self.embed, self.norm, self.head = nn.Linear(6, 8), nn.LayerNorm(8), nn.Linear(8, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.norm(torch.tanh(self.embed(x))).mean(1))


def test_layers_run_several_times_are_exact() -> None:
    torch.manual_seed(0)
    assert_equal_to_vmap(jitter(Repeated()), torch.randn(5, 3, 2, 2))


def test_linear_on_sequences_is_exact() -> None:
    torch.manual_seed(0)
    assert_equal_to_vmap(Sequence().eval(), torch.randn(6, 5, 6))


class Tied(nn.Module):
    """`first.weight` is also read by the functional call below: its module's hook sees a part of its gradient only."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.head = nn.Linear(6, 6, bias=False), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(F.linear(torch.tanh(self.first(x)), self.first.weight)))


class Shared(nn.Module):
    """Two modules with one Parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)
        self.second.weight = self.first.weight

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.second(torch.tanh(self.first(x)))))


class Folded(nn.Module):
    """A Linear whose first axis is b * windows: the hook cannot tell the samples apart."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.head = nn.Linear(3, 3), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.inner(x.reshape(-1, 3))).reshape(len(x), -1))


class Overwritten(nn.Module):
    """The input of `second` is changed in place after it was read."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.second, self.head = nn.Linear(6, 6), nn.Linear(6, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.first(x) * 1.0
        out = self.second(h.detach())
        h.mul_(0.5)
        return self.head(torch.tanh(out + h))


class OwnParameter(nn.Module):
    """A bare Parameter, a PReLU and a ConvTranspose: no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.rand(3))
        self.up, self.act = nn.ConvTranspose2d(3, 2, 2), nn.PReLU()
        self.head = nn.Linear(18, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.act(self.up(x * self.scale[:, None, None])).flatten(1))


class Doubled(nn.Linear):
    """A subclass with a forward of its own."""

    def forward(self, x: Tensor) -> Tensor:
        return 2 * super().forward(x)


FALLBACKS: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], tuple[str, ...]]] = {
    "tied": (Tied, (6,), ("first.weight",)),
    "shared": (Shared, (6,), ("first.weight", "first.bias", "second.bias")),
    "folded": (Folded, (6,), ("inner.weight", "inner.bias")),
    "own": (OwnParameter, (3, 2, 2), ("scale", "up.weight", "up.bias", "act.weight")),
    "subclass": (lambda: nn.Sequential(Doubled(6, 5), nn.Tanh(), nn.Linear(5, CLASSES)), (6,), ("0.weight", "0.bias")),
    "weight norm": (
        lambda: nn.Sequential(
            nn.utils.parametrizations.weight_norm(nn.Linear(6, 5)), nn.Tanh(), nn.Linear(5, CLASSES)
        ),
        (6,),
        ("0.bias", "0.parametrizations.weight.original0", "0.parametrizations.weight.original1"),
    ),
    "attention": (
        lambda: nn.Sequential(
            nn.Linear(6, 8), nn.TransformerEncoderLayer(8, 2, 12, batch_first=True), *head(24)
        ),
        (3, 6),
        ("1.self_attn.in_proj_weight", "1.self_attn.in_proj_bias", "1.self_attn.out_proj.weight",
         "1.self_attn.out_proj.bias"),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", FALLBACKS)
def test_unruled_parameters_fall_back_and_say_so(name: str) -> None:
    torch.manual_seed(0)
    make, shape, expected = FALLBACKS[name]
    engine = assert_equal_to_vmap(make().eval(), torch.randn(5, *shape), fallback=expected)
    assert len(engine.notes) == 1 and "torch.func.vmap" in engine.notes[0] and expected[0] in engine.notes[0]


def test_input_changed_in_place_falls_back() -> None:
    torch.manual_seed(0)
    model = Overwritten().eval()
    engine = SquaredGradients(model, torch.randn(4, 6))
    assert set(engine.plan.fallback) == {"second.weight", "second.bias"}


class Branching(nn.Module):
    """Control flow that depends on the data: vmap refuses it."""

    def __init__(self) -> None:
        super().__init__()
        self.inner, self.scale, self.head = nn.Linear(6, 6), nn.Parameter(torch.ones(6)), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        h = self.inner(x)
        if h.abs().sum().item() > 0:
            h = h * self.scale
        return self.head(torch.tanh(h))


def test_model_that_vmap_refuses_is_done_one_by_one() -> None:
    torch.manual_seed(0)
    model, x, y = Branching().eval(), torch.randn(5, 6), torch.randint(0, CLASSES, (5,))
    engine = SquaredGradients(model, x)
    assert engine.plan.by_loop and "one sample at a time" in engine.notes[0]
    weights = random_weights(model)
    s, _ = engine.scores(x, y, weights)
    for index in range(5):
        loss = F.cross_entropy(model(x[index : index + 1]), y[index : index + 1])
        grads = torch.autograd.grad(loss, list(model.parameters()))
        expected = sum((g.square() * w).sum() for g, w in zip(grads, weights.values(), strict=True))
        assert s[index].item() == pytest.approx(expected.item(), rel=1e-5)


def test_batch_statistics_are_taken_of_one_sample() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4, track_running_stats=False), nn.ReLU(), *head(4 * 16)
    ).eval()
    x, y = torch.randn(4, 3, 6, 6), torch.randint(0, CLASSES, (4,))
    engine = SquaredGradients(model, x)
    assert "affect each other" in engine.notes[0] and not engine.plan.rules
    weights = random_weights(model)
    s, _ = engine.scores(x, y, weights)
    for index in range(4):
        grads = torch.autograd.grad(
            F.cross_entropy(model(x[index : index + 1]), y[index : index + 1]), [*model.parameters()]
        )
        expected = sum((g.square() * w).sum() for g, w in zip(grads, weights.values(), strict=True))
        assert s[index].item() == pytest.approx(expected.item(), rel=1e-4)


def test_resnet_equals_vmap_for_every_parameter() -> None:
    torch.manual_seed(0)
    model = jitter(CifarResNet((1, 1, 1, 1), num_classes=CLASSES, width=8))
    assert_equal_to_vmap(model, torch.randn(6, 3, 16, 16))


def test_layers_of_a_million_parameters_keep_their_digits() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(4, 384, 1), nn.ReLU(), nn.Conv2d(384, 385, 3, padding=1), nn.ReLU(), *head(385 * 4)
    ).eval()
    x, y = torch.randn(2, 4, 2, 2), torch.tensor([1, 3])
    weights = random_weights(model)
    found = squared_scores(model, x, y, weights)
    expected = by_vmap(model.double(), x.double(), y, {name: value.double() for name, value in weights.items()})
    torch.testing.assert_close(found, sum(expected.values()), rtol=2e-6, atol=0)


@pytest.mark.parametrize("name", ["resnet18", "mobilenet_v2"])
def test_torchvision_models_equal_vmap_without_fallback(name: str) -> None:
    from torchvision.models import get_model

    torch.manual_seed(0)
    assert_equal_to_vmap(get_model(name, num_classes=CLASSES).eval(), torch.randn(3, 3, 32, 32))


def test_small_budget_and_batch_of_one_change_nothing() -> None:
    torch.manual_seed(0)
    model = jitter(CifarResNet((1, 1), num_classes=CLASSES, width=4))
    x, y, weights = torch.randn(5, 3, 8, 8), torch.randint(0, CLASSES, (5,)), random_weights(model)
    whole = squared_scores(model, x, y, weights)
    pieces, _ = SquaredGradients(model, x, budget=1).scores(x, y, weights)
    alone = torch.cat([squared_scores(model, x[i : i + 1], y[i : i + 1], weights) for i in range(5)])
    torch.testing.assert_close(pieces, whole, rtol=1e-5, atol=0)
    torch.testing.assert_close(alone, whole, rtol=1e-5, atol=0)


def test_only_the_named_parameters_count() -> None:
    torch.manual_seed(0)
    model = jitter(CifarResNet((1, 1), num_classes=CLASSES, width=4))
    x, y, weights = torch.randn(5, 3, 8, 8), torch.randint(0, CLASSES, (5,)), random_weights(model)
    some = {name: weights[name] for name in ("fc.weight", "layer1.0.bn1.bias")}
    expected = by_vmap(model, x, y, weights)
    torch.testing.assert_close(
        squared_scores(model, x, y, some).float(),
        expected["fc.weight"] + expected["layer1.0.bn1.bias"],
        rtol=1e-5,
        atol=0,
    )


def test_model_is_left_as_it_was() -> None:
    model = CifarResNet((1, 1), num_classes=CLASSES, width=4).train()
    model.fc.bias.requires_grad_(False)
    before = {name: value.clone() for name, value in model.state_dict().items()}
    x, y = torch.randn(5, 3, 8, 8), torch.randint(0, CLASSES, (5,))
    squared_scores(model, x, y, random_weights(model))
    assert model.training and model.layer1[0].bn1.training
    assert not model.fc.bias.requires_grad and model.fc.weight.requires_grad and model.fc.weight.grad is None
    assert not model.fc._forward_hooks
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_residuals_keep_digits_of_confident_samples() -> None:
    logits = torch.tensor([[14.0, 0.0, 1.0], [0.1, 0.2, 0.3]])
    labels = torch.tensor([0, 2])
    exact = F.softmax(logits.double(), 1) - F.one_hot(labels, 3)
    torch.testing.assert_close(residuals(logits, labels).double(), exact, rtol=1e-6, atol=0)


def test_bad_arguments_are_named() -> None:
    model, x = nn.Linear(3, CLASSES), torch.randn(2, 3)
    with pytest.raises(SettingsError, match="`weights` must hold tensors of the model's parameter shapes, got nothing"):
        squared_scores(model, x, torch.tensor([0, 1]), {"nothing": torch.ones(1)})
    with pytest.raises(DataError, match="`y` must hold one integer label for each of 2 samples"):
        squared_scores(model, x, torch.tensor([0.0, 1.0]), {"bias": torch.ones(CLASSES)})
    with pytest.raises(DataError, match=r"`model` must return logits of shape \(samples, classes\)"):
        squared_scores(nn.Conv1d(1, 2, 1), torch.randn(2, 1, 3), torch.tensor([0, 1]), {})
