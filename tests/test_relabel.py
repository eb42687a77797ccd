"""Labels by Eq. 22: the sign, all labels against single ones, and branch and bound against all labels."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.layers import Calls
from fvm_core.influence.per_sample import SquaredGradients, residuals, squared_contributions, squared_scores
from fvm_core.influence.relabel import all_labels, shortlist
from fvm_core.models.resnet import CifarResNet

C = 5


class Scaled(nn.Module):
    """Two layers, and an output that is changed in place: with all layers at the top every label is exact."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(8, 8), nn.Linear(8, C)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(x))).mul_(0.1)


class Headless(nn.Module):
    """No linear layer at the end."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, C, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x).mean((2, 3))


def trained(model: nn.Module, shape: tuple[int, ...], steps: int = 15) -> tuple[nn.Module, Tensor, Tensor]:
    """A model a few steps into fitting noise, so that some samples are confident and others not."""
    torch.manual_seed(0)
    x, y = torch.randn(40, *shape), torch.randint(0, C, (40,))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model.eval()(x), y).backward()
        optimizer.step()
    return model, x, y


def make(name: str) -> tuple[nn.Module, Tensor, Tensor]:
    torch.manual_seed(0)
    if name == "resnet":
        return trained(CifarResNet((1, 1), num_classes=C, width=4), (3, 8, 8), 80)
    if name == "mlp":
        widths = (6, 16, 16, 16, 16)
        hidden = [nn.Sequential(nn.Linear(*pair), nn.Tanh()) for pair in itertools.pairwise(widths)]
        return trained(nn.Sequential(*hidden, nn.Linear(16, C)), (6,), 150)
    return trained(Scaled(), (8,)) if name == "scaled" else trained(Headless(), (3, 5, 5))


@pytest.mark.parametrize("fitted", [False, True])
def test_scores_that_overflow_end_the_search(fitted: bool) -> None:
    """Where all labels' scores do, and where only those of wrong labels do."""
    torch.manual_seed(0)
    hidden = [nn.Sequential(nn.Linear(*pair), nn.Tanh()) for pair in itertools.pairwise((6, 64, 64, 64))]
    model, x, y = trained(nn.Sequential(*hidden, nn.Linear(64, C)), (6,), 150 if fitted else 0)
    engine = SquaredGradients(model, x)
    weights = {name: torch.full_like(value, 3e38) for name, value in model.named_parameters()}
    given = (y + 1) % C
    every, short = (scored(engine, x, given, weights) for scored in (all_labels, shortlist))
    assert every.given.isinf().any() and torch.equal(short.given, every.given)
    finite = every.scores.amin(1).isfinite()
    assert finite.all() if fitted else every.scores.isinf().all(1).any()
    assert torch.equal(short.suggested[finite], every.suggested[finite])


@pytest.mark.parametrize("name", ["resnet", "mlp", "scaled", "headless"])
@pytest.mark.parametrize("damping", [1e-8, 1e-2])
def test_shortlist_finds_the_same_label_as_all(name: str, damping: float) -> None:
    model, x, y = make(name)
    engine = SquaredGradients(model, x)
    weights = inverse_fisher(fisher_diagonal(model, [(x[:20], y[:20])]), damping=damping)
    given = (y + torch.arange(40) % C) % C
    every, short = all_labels(engine, x, given, weights), shortlist(engine, x, given, weights, batch_size=16)
    assert torch.equal(short.suggested, every.suggested)
    torch.testing.assert_close(short.given, every.given, rtol=1e-4, atol=0)
    torch.testing.assert_close(short.scores[short.exact], every.scores[short.exact], rtol=1e-4, atol=0)
    assert (short.scores[~short.exact] <= every.scores[~short.exact] * (1 + 1e-5)).all()
    best = every.scores.amin(1, keepdim=True).expand_as(every.scores)
    assert (short.scores[~short.exact] > best[~short.exact]).all()
    if name in ("resnet", "mlp"):
        assert short.exact.float().mean() < 0.8, "hardly anything was pruned: the bound is not used"
    else:
        assert short.exact.all()


class Inner(nn.Module):
    """In place operations, a layer that runs twice and a parameter without a rule, below and above each other."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Conv2d(3, 6, 3, padding=1), nn.BatchNorm2d(6)
        self.again, self.scale = nn.Conv2d(6, 6, 3, padding=1), nn.Parameter(torch.rand(6))
        self.late, self.head = nn.Linear(6, 8), nn.Linear(8, C)

    def forward(self, x: Tensor) -> Tensor:
        h = F.relu(self.norm(self.first(x)), inplace=True)
        h = h + F.relu_(self.again(h))
        h = F.relu_(self.again(h)).mean((2, 3)).mul_(self.scale)
        return self.head(F.relu_(self.late(h)))


@pytest.mark.parametrize("model", [Inner(), CifarResNet((1, 1), num_classes=C, width=4)], ids=["inner", "resnet"])
@pytest.mark.parametrize("layers", [1, 2, 4])
def test_top_layers_and_the_rest_make_the_whole(model: nn.Module, layers: int) -> None:
    torch.manual_seed(0)
    x, y = torch.randn(6, 3, 5, 5), torch.randint(0, C, (6,))
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    engine = SquaredGradients(model, x)
    top = frozenset(list(engine.plan.owned)[-layers:])
    with engine.running(x, weights) as run:
        pulls = [residuals(run.logits.detach(), labels) for labels in (y, (y + 1) % C)]
        upper = run.contributions(pulls, layers=top, last=False)
        lower = run.contributions(pulls, without=top)
    for index, labels in enumerate((y, (y + 1) % C)):
        expected = squared_contributions(model, x, labels, weights)
        assert set(upper[index]) | set(lower[index]) == set(expected) and not set(upper[index]) & set(lower[index])
        for name, value in (upper[index] | lower[index]).items():
            torch.testing.assert_close(value, expected[name], rtol=1e-5, atol=1e-6 * float(expected[name].max()))


def test_top_of_a_network_costs_no_backward_pass_below_it() -> None:
    model = CifarResNet((1, 1), num_classes=C, width=4)
    x, weights = torch.randn(2, 3, 8, 8), {name: torch.ones_like(value) for name, value in model.named_parameters()}
    engine, reached = SquaredGradients(model, x), []
    assert "layer2.0.conv2" in engine.top_layers(weights) and "layer1.0.conv1" not in engine.top_layers(weights)
    with engine.running(x, weights) as run:
        for name, edges in run.capture._edges.items():
            for edge in edges:
                edge.node.register_hook(lambda *_, name=name: reached.append(name))
        run.contributions([run.logits.detach()], layers=engine.top_layers(weights))
    assert reached and all(name.startswith(("fc", "layer2")) for name in reached)


def test_all_labels_equal_one_label_at_a_time() -> None:
    model, x, y = make("resnet")
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    found = all_labels(SquaredGradients(model, x), x, y, weights)
    for label in range(C):
        expected = squared_scores(model, x, torch.full_like(y, label), weights)
        torch.testing.assert_close(found.scores[:, label], expected, rtol=1e-4, atol=0)
    torch.testing.assert_close(found.given, found.scores.gather(1, y[:, None])[:, 0])


def test_fewer_classes_than_outputs_are_never_suggested() -> None:
    model, x, y = make("mlp")
    weights = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    engine = SquaredGradients(model, x)
    for found in (all_labels(engine, x, y % 3, weights, classes=3), shortlist(engine, x, y % 3, weights, classes=3)):
        assert found.scores.shape == (40, 3) and int(found.suggested.max()) <= 2
    assert int(all_labels(engine, x, y, weights).suggested.max()) > 2


def test_suggestion_is_the_class_of_the_cluster() -> None:
    """Sign: well separated clusters with one wrong label; the smallest s names the cluster's class."""
    torch.manual_seed(0)
    centres = 4 * torch.tensor([[1.0, 0.0], [-0.5, 0.9], [-0.5, -0.9]])
    y = torch.arange(3).repeat_interleave(30)
    x = centres[y] + 0.5 * torch.randn(90, 2)
    model = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.2, momentum=0.9)
    for _ in range(60):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    weights = inverse_fisher(fisher_diagonal(model, [(x, y)]), damping=1e-8)
    wrong = (y + 1) % 3
    found = all_labels(SquaredGradients(model, x), x, wrong, weights)
    assert (found.suggested == y).float().mean() > 0.97
    assert (found.given > found.scores.amin(1)).float().mean() > 0.97


def test_gradients_of_many_labels_are_not_held_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many as `HELD_BYTES` take, and at least one."""
    torch.manual_seed(0)
    model, x, y = CifarResNet((1, 1), num_classes=C, width=4).eval(), torch.randn(6, 3, 8, 8), torch.zeros(6).long()
    weights, engine = (
        {name: torch.rand_like(value) for name, value in model.named_parameters()},
        SquaredGradients(model, x),
    )
    whole = all_labels(engine, x, y, weights).scores
    rule = engine.plan.rules["layer1.0.conv1"]
    weighted, met = rule.weighted_scaled, []

    def noting(module: nn.Module, many: list[Calls], *rest: Any, **scaled: Any) -> Any:
        met.append(len(many))
        return weighted(module, many, *rest, **scaled)

    monkeypatch.setattr(rule, "weighted_scaled", noting)
    sizes = {}
    for held in (1, 2 * 6 * 4 * 64 * 4 * 8, 2**30):
        monkeypatch.setattr("fvm_core.influence.forward_pass.HELD_BYTES", held)
        met.clear()
        torch.testing.assert_close(all_labels(engine, x, y, weights).scores, whole)
        sizes[held] = max(met)
    few, some, many = sizes.values()
    assert few == 1 and many == C and few <= some < many
