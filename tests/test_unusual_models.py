"""Models that are unlike the app's own, and what is wrong in a call: scores against autograd, one sample at a time."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from fvm_core.errors import DataError, FVMError, SettingsError
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import flat_scores, inverse_fisher
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.relabel import all_labels, shortlist
from fvm_core.models.resnet import CifarResNet

CLASSES = 4


def random_weights(model: nn.Module) -> dict[str, Tensor]:
    return {name: torch.rand_like(value) + 0.1 for name, value in model.named_parameters()}


def one_by_one(model: nn.Module, x: Tensor, y: Tensor, weights: dict[str, Tensor]) -> Tensor:
    """s of each sample by autograd, alone; parameters that it does not reach give nothing."""
    found = []
    for index in range(len(x)):
        loss = F.cross_entropy(model(x[index : index + 1]), y[index : index + 1])
        grads = torch.autograd.grad(loss, list(model.parameters()), allow_unused=True)
        pairs = zip(grads, weights.values(), strict=True)
        found.append(sum((g.double().square() * w).sum() for g, w in pairs if g is not None))
    return torch.stack(found)


class Tokens(nn.Module):
    """Whole numbers come in, and an Embedding has no rule."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding, self.head = nn.Embedding(11, 6), nn.Linear(6, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.embedding(x)).mean(1))


def test_token_ids_keep_the_fractions_of_their_scores() -> None:
    torch.manual_seed(0)
    model, x, y = Tokens().eval(), torch.randint(0, 11, (5, 7)), torch.randint(0, CLASSES, (5,))
    weights = random_weights(model)
    engine = SquaredGradients(model, x)
    assert engine.plan.fallback == ("embedding.weight",)
    found, _ = engine.scores(x, y, weights)
    torch.testing.assert_close(found, one_by_one(model, x, y, weights), rtol=1e-5, atol=0)
    alone = {"embedding.weight": weights["embedding.weight"]}
    assert 0 < engine.scores(x, y, alone)[0].max() < 1
    assert torch.isfinite(flat_scores(model, x, y, [(x, y)])).all()


class Backbone(nn.Module):
    """Features without gradients, as a frozen extractor gives them."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 16, 3), nn.BatchNorm2d(16), nn.ReLU())
        self.head = nn.Linear(16, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        with torch.no_grad():
            features = self.body(x).mean((2, 3))
        return self.head(features)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_a_backbone_within_no_grad_has_no_gradients(precision: str) -> None:
    torch.manual_seed(0)
    model, x, y = Backbone().eval(), torch.randn(5, 3, 6, 6), torch.randint(0, CLASSES, (5,))
    weights, engine = random_weights(model), SquaredGradients(model, x, precision=precision)
    found, _ = engine.scores(x, y, weights)
    torch.testing.assert_close(found, one_by_one(model, x, y, weights), rtol=1e-5, atol=0)
    totals = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in model.named_parameters()}
    engine.sums(x, y, totals)
    assert {name for name, value in totals.items() if value.any()} == {"head.weight", "head.bias"}


class Recomputed(nn.Module):
    """Activations that are computed again on the way back."""

    def __init__(self, reentrant: bool) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.head, self.reentrant = nn.Linear(4, CLASSES), reentrant

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return self.head(checkpoint(self.body, x, use_reentrant=self.reentrant).mean((2, 3)))


@pytest.mark.parametrize("reentrant", [False, True])
def test_recomputed_activations_are_refused_with_a_remedy(reentrant: bool) -> None:
    torch.manual_seed(0)
    model, x, y = Recomputed(reentrant).eval(), torch.randn(5, 3, 6, 6), torch.randint(0, CLASSES, (5,))
    with pytest.raises(SettingsError, match="Switch it off"):
        SquaredGradients(model, x).scores(x, y, random_weights(model))


class OwnLeaf(nn.Module):
    """Two branches of an input that the model itself asks gradients of: a penalty on them is one use."""

    def __init__(self) -> None:
        super().__init__()
        self.left, self.right, self.head = nn.Linear(6, 5), nn.Linear(6, 5), nn.Linear(5, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        x = x.detach().requires_grad_()
        return self.head(torch.tanh(self.left(x)) + torch.tanh(self.right(x)))


def test_a_model_that_asks_for_gradients_of_its_input_is_exact() -> None:
    torch.manual_seed(0)
    model, x, y = OwnLeaf().eval(), torch.randn(5, 6), torch.randint(0, CLASSES, (5,))
    weights, engine = random_weights(model), SquaredGradients(model, x)
    assert not engine.plan.fallback
    found, _ = engine.scores(x, y, weights)
    torch.testing.assert_close(found, one_by_one(model, x, y, weights), rtol=1e-5, atol=0)


class KeywordNorm(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv, self.norm, self.head = nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Linear(4, CLASSES)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.norm(input=self.conv(x) + 1)).mean((2, 3)))


def test_a_norm_called_by_keyword_is_exact() -> None:
    torch.manual_seed(0)
    model, x, y = KeywordNorm(), torch.randn(5, 3, 6, 6), torch.randint(0, CLASSES, (5,))
    model(x)  # running statistics of its own
    model.eval()
    weights = random_weights(model)
    found, _ = SquaredGradients(model, x).scores(x, y, weights)
    torch.testing.assert_close(found, one_by_one(model, x, y, weights), rtol=1e-5, atol=0)


def test_a_model_in_bf16_sums_what_has_no_rule_in_fp32() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 8, 3), nn.PReLU(), nn.Flatten(), nn.Linear(128, CLASSES)).eval().bfloat16()
    x, y = torch.randn(5, 3, 6, 6).bfloat16(), torch.randint(0, CLASSES, (5,))
    fisher = fisher_diagonal(model, [(x, y)])
    weights = inverse_fisher(fisher, damping=1e-4)
    found, _ = SquaredGradients(model, x).scores(x, y, weights)
    exact = one_by_one(copy.deepcopy(model).double(), x.double(), y, weights)
    torch.testing.assert_close(found, exact, rtol=0.05, atol=0)
    assert fisher["1.weight"].item() != fisher["1.weight"].bfloat16().item()


class Centred(nn.Module):
    """Logits that lean a little on the other samples: by functional batch statistics, or by a share of their mean."""

    def __init__(self, share: float) -> None:
        super().__init__()
        self.inner, self.head, self.share = nn.Conv2d(3, 4, 3), nn.Linear(64, CLASSES), share

    def forward(self, x: Tensor) -> Tensor:
        z = self.inner(x)
        if self.share == 0:
            z = F.batch_norm(z, None, None, training=True)
        z = self.head(z.flatten(1))
        return z - self.share * z.mean(0)


@pytest.mark.parametrize("share", [0.0, 0.02, 0.003])
@pytest.mark.parametrize("seen", [1, 2, 5])
def test_samples_that_affect_each_other_a_little_are_taken_alone(share: float, seen: int) -> None:
    """Whatever the number of samples that the engine was planned on."""
    torch.manual_seed(0)
    model, x, y = Centred(share).eval(), torch.randn(6, 3, 6, 6), torch.randint(0, CLASSES, (6,))
    weights, engine = random_weights(model), SquaredGradients(model, x[:seen])
    assert engine.plan.alone
    found, _ = engine.scores(x, y, weights)
    torch.testing.assert_close(found, one_by_one(model, x, y, weights), rtol=1e-4, atol=0)


@pytest.mark.parametrize(
    ("change", "rule"),
    [
        (lambda x, y, w: (x, y, {}), "at least one parameter"),
        (lambda x, y, w: (x[:0], y[:0], w), "one integer label"),
        (lambda x, y, w: (x, y, {name: value.double() for name, value in w.items()}), "float32 for this model"),
    ],
)
def test_what_cannot_be_scored_is_named(change: Callable[..., tuple[Any, ...]], rule: str) -> None:
    model, x, y = nn.Linear(6, CLASSES), torch.randn(4, 6), torch.zeros(4, dtype=torch.long)
    with pytest.raises(FVMError, match=rule):
        SquaredGradients(model, x).scores(*change(x, y, random_weights(model)))
    with pytest.raises(DataError, match="at least one sample"):
        SquaredGradients(model, x[:0])


def test_weights_made_in_inference_mode_serve_too() -> None:
    torch.manual_seed(0)
    model = CifarResNet((1, 1), num_classes=CLASSES, width=8).eval()
    x, y = torch.randn(4, 3, 8, 8), torch.randint(0, CLASSES, (4,))
    weights, engine = random_weights(model), SquaredGradients(model, x)
    with torch.inference_mode():
        made = {name: value.clone() for name, value in weights.items()}
    torch.testing.assert_close(engine.scores(x, y, made)[0], engine.scores(x, y, weights)[0])


@pytest.mark.parametrize("given", [CLASSES, -1])
def test_a_label_beyond_the_classes_is_named(given: int) -> None:
    torch.manual_seed(0)
    model, x = nn.Sequential(nn.Linear(6, 6), nn.Tanh(), nn.Linear(6, CLASSES)), torch.randn(3, 6)
    y, weights, engine = torch.tensor([0, given, 1]), random_weights(model), SquaredGradients(model, x)
    for ways in (all_labels, shortlist):
        with pytest.raises(DataError, match="labels 0 to 3"):
            ways(engine, x, y, weights)


def test_a_caller_without_gradients_gets_the_same_scores() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3)).eval()
    x, y = torch.randn(5, 3, 6, 6), torch.randint(3, (5,))
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    engine = SquaredGradients(model, x)
    wanted = engine.scores(x, y, weights)[0]
    with torch.no_grad():
        found = engine.scores(x, y, weights)[0]
    assert torch.equal(found, wanted) and (found > 0).all()
