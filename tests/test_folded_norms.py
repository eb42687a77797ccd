"""Folded norms: squared gradients equal vmap's, and nothing is folded where another would see it or digits would go."""

from __future__ import annotations

from typing import Literal

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.influence import layers_conv
from fvm_core.influence.folded_norms import FoldedNorms, folded_norms
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.relabel import all_labels
from fvm_core.influence.remembered import Remembered
from tests.small_nets import label_gradients

SHAPE = (5, 2, 7, 6)


class Net(nn.Module):
    """Stem, a block with shortcut, and a head. `way`: what the forward does that folding has to see."""

    def __init__(self, way: str = "plain") -> None:
        super().__init__()
        self.way = way
        mode: Literal["zeros", "reflect"] = "reflect" if way == "reflect" else "zeros"
        self.conv1 = nn.Conv2d(2, 4, 3, padding=1, padding_mode=mode, bias=way == "bias")
        self.bn1 = nn.BatchNorm2d(4)
        self.conv2 = nn.Conv2d(4, 4, 3, padding=1, groups=2 if way == "grouped" else 1, bias=way == "bias")
        self.bn2 = nn.BatchNorm2d(4)
        self.fc = nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        kept = self.bn1(self.conv1(x))
        out = F.relu(kept, inplace=self.way in ("relu in place", "add in place"))
        inner = self.conv2(out)
        y = self.bn2(inner)
        if self.way == "add in place":
            y += out
        elif self.way == "read twice":
            y = y + inner
        elif self.way == "read aside":
            y = y * inner.detach().mean((1, 2, 3), keepdim=True)
        elif self.way == "changed before":
            y = self.bn2(inner.mul_(2))
        else:
            y = y + out
        return self.fc(F.hardswish(y, inplace=True).mean((2, 3)))


def made(way: str = "plain", *, dtype: torch.dtype = torch.float64) -> tuple[Net, Tensor, Tensor]:
    torch.manual_seed(3)
    model = Net(way).to(dtype).eval()
    for norm in (model.bn1, model.bn2):
        nn.init.normal_(norm.weight, 1.0, 0.5)
        nn.init.normal_(norm.bias)
        norm.running_mean.normal_()  # type: ignore[union-attr]
        norm.running_var.uniform_(0.3, 2.0)  # type: ignore[union-attr]
    return model, torch.randn(*SHAPE, dtype=dtype), torch.randint(3, SHAPE[:1])


def squares(model: nn.Module, x: Tensor, y: Tensor) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Weights, and by vmap the weighted squares (b,) of each parameter."""
    torch.manual_seed(4)
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    grads = label_gradients(model, x, y)
    return weights, {name: (grads[name].square() * weights[name]).flatten(1).sum(1) for name in grads}


def check(model: nn.Module, x: Tensor, y: Tensor, engine: SquaredGradients, *, rtol: float = 1e-9) -> None:
    weights, wanted = squares(model, x, y)
    pulls = lambda z: (z.softmax(1) - F.one_hot(y, 3)).unsqueeze(0)  # noqa: E731
    found, logits = engine.contributions(x, pulls, weights)
    for name, value in wanted.items():
        torch.testing.assert_close(found[0][name], value, rtol=rtol, atol=0)
    torch.testing.assert_close(logits, model(x).detach())
    several, _ = engine.contributions(x, lambda z: torch.stack([pulls(z)[0]] * 3), weights)
    for name, value in wanted.items():
        torch.testing.assert_close(several[2][name], value, rtol=rtol, atol=0)
    totals = {name: torch.zeros_like(value, dtype=torch.float64) for name, value in model.named_parameters()}
    engine.sums(x, y, totals)
    for name, grad in label_gradients(model, x, y).items():
        torch.testing.assert_close(totals[name], grad.double().square().sum(0), rtol=rtol, atol=1e-12)


@pytest.mark.parametrize(
    ("way", "pairs"),
    [
        ("plain", {("conv1", False), ("conv2", False)}),
        ("bias", {("conv1", False), ("conv2", False)}),
        ("grouped", {("conv1", False), ("conv2", False)}),
        ("reflect", {("conv1", False), ("conv2", False)}),
        ("relu in place", {("conv1", True), ("conv2", False)}),
        ("add in place", {("conv1", True), ("conv2", True)}),
        ("read twice", {("conv1", False)}),
        ("read aside", set()),  # the graph does not show it: the logits do, and nothing is folded
        ("changed before", {("conv1", False)}),
    ],
)
@pytest.mark.parametrize("channels_last", [False, True])
@pytest.mark.parametrize("joined", [False, True])
def test_squares_equal_vmap(
    way: str, pairs: set[tuple[str, bool]], channels_last: bool, joined: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the norms' gradients from the filters' or from the output."""
    monkeypatch.setattr("fvm_core.influence.foldable.JOINED", 1000 if joined else 0)
    model, x, y = made(way)
    x = x.contiguous(memory_format=torch.channels_last) if channels_last else x
    engine = SquaredGradients(model, x)
    assert {(pair.conv, pair.copied) for pair in engine.plan.pairs} == pairs
    assert all(pair.joined is joined for pair in engine.plan.pairs)
    check(model, x, y, engine)


def test_a_joined_norm_is_no_layer_of_its_own() -> None:
    """Its output is neither kept nor read; where nobody asks for the filters, it is taken from its output."""
    model, x, y = made()
    engine = SquaredGradients(model, x)
    weights, wanted = squares(model, x, y)
    few = {name: weights[name] for name in ("bn1.weight", "bn1.bias", "bn2.bias", "conv2.weight")}
    for chosen, layers in ((weights, {"conv1", "conv2", "fc"}), (few, {"bn1", "conv2"})):
        with engine.running(x, chosen) as run:
            assert set(run.capture.expected) == layers
            found = run.contributions([run.logits.softmax(1).detach() - F.one_hot(y, 3)])[0]
        assert set(found) == set(chosen)
        for name, value in found.items():
            torch.testing.assert_close(value, wanted[name], rtol=1e-9, atol=0)


def test_many_labels_of_few_positions_equal_one_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where labels share a matrix of pairs of positions no filter's gradient is made: the norm's comes from patches."""
    taken: list[int] = []
    by_pairs = layers_conv.weighted_by_pairs
    monkeypatch.setattr(layers_conv, "weighted_by_pairs", lambda *args: (taken.append(1), by_pairs(*args))[1])
    monkeypatch.setattr("fvm_core.influence.foldable.JOINED", 1000)
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(8, 16, 3, stride=2, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten(), nn.Linear(64, 12)
    )  # fmt: skip
    model, x = model.double().eval(), torch.randn(5, 8, 4, 4, dtype=torch.float64)
    nn.init.normal_(model[1].running_mean)  # type: ignore[arg-type]
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    found = all_labels(SquaredGradients(model, x), x, torch.zeros(5, dtype=torch.long), weights).scores
    assert taken
    for label in range(12):
        grads = label_gradients(model, x, torch.full((5,), label))
        wanted = sum((grads[name].square() * weights[name]).flatten(1).sum(1) for name in grads)
        torch.testing.assert_close(found[:, label], wanted, rtol=1e-9, atol=0)


def test_a_norm_goes_with_its_convolution_to_the_top() -> None:
    """Where another convolution runs between them the top would hold the norm alone."""

    class Late(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.early, self.late, self.norm = nn.Conv2d(2, 3, 3), nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3)
            self.fc = nn.Linear(3, 3)

        def forward(self, x: Tensor) -> Tensor:
            early, late = self.early(x), self.late(x)
            return self.fc((F.relu(self.norm(early)) + F.relu(late)).mean((2, 3)))

    torch.manual_seed(0)
    model, x, y = Late().double().eval(), torch.randn(*SHAPE, dtype=torch.float64), torch.randint(3, SHAPE[:1])
    engine = SquaredGradients(model, x)
    weights, wanted = squares(model, x, y)
    top = engine.top_layers(weights)
    assert top == {"fc", "late"}
    pull = lambda run: [run.logits.softmax(1).detach() - F.one_hot(y, 3)]  # noqa: E731
    with engine.running(x, weights) as run:
        both = [run.contributions(pull(run), layers=top, last=False)[0], run.contributions(pull(run), without=top)[0]]
    assert not set(both[0]) & set(both[1])
    for name, value in (both[0] | both[1]).items():
        torch.testing.assert_close(value, wanted.pop(name), rtol=1e-9, atol=0)
    assert not wanted


def test_changed_parameters_and_statistics_are_folded_anew() -> None:
    model, x, y = made()
    engine = SquaredGradients(model, x)
    check(model, x, y, engine)
    with torch.no_grad():
        model.conv1.weight.mul_(1.5)
        model.bn2.bias.add_(0.5)
        model.bn2.running_mean.add_(0.5)  # type: ignore[union-attr]
    check(model, x, y, engine)


def test_weights_changed_in_place_are_weighed_anew() -> None:
    model, x, y = made()
    engine = SquaredGradients(model, x)
    weights, wanted = squares(model, x, y)
    before = engine.scores(x, y, weights)[0]
    torch.testing.assert_close(before, sum(wanted.values()))
    for value in weights.values():
        value.mul_(3)
    torch.testing.assert_close(engine.scores(x, y, weights)[0], 3 * before)
    only = {"conv1.weight": weights["conv1.weight"]}
    torch.testing.assert_close(engine.scores(x, y, only)[0], 3 * wanted["conv1.weight"])


@pytest.mark.parametrize(("scale", "bias"), [(0.0, 0.0), (0.0, 1.0), (1e-12, 0.0), (0.01, 1.0)])
def test_a_norm_that_would_lose_digits_is_not_folded(scale: float, bias: float) -> None:
    model, x, y = made(dtype=torch.float32)
    with torch.no_grad():
        model.bn1.weight[2], model.bn1.bias[2] = scale, bias
    engine = SquaredGradients(model, x)
    assert set(FoldedNorms(engine.plan.modules, engine.plan.pairs).now()) == {"conv2"}
    weights, wanted = squares(model, x, y)
    torch.testing.assert_close(engine.scores(x, y, weights)[0].float(), sum(wanted.values()), rtol=1e-5, atol=0)


def test_single_precision_keeps_its_digits_at_the_limit() -> None:
    model, x, y = made(dtype=torch.float32)
    with torch.no_grad():
        model.bn1.weight.fill_(0.05)
        model.bn1.bias.fill_(1.4)
    engine = SquaredGradients(model, x)
    assert len(FoldedNorms(engine.plan.modules, engine.plan.pairs).now()) == 2
    weights, _ = squares(model, x, y)
    _, wanted = squares(model.double(), x.double(), y)
    grads = label_gradients(model, x.double(), y)["bn1.weight"]
    wanted["bn1.weight"] = (grads.square() * weights["bn1.weight"].double()).flatten(1).sum(1)
    model.float()
    found = engine.contributions(x, lambda z: (z.softmax(1) - F.one_hot(y, 3)).unsqueeze(0), weights)[0][0]
    torch.testing.assert_close(found["bn1.weight"].double(), wanted["bn1.weight"], rtol=1e-3, atol=0)


@pytest.mark.parametrize(("mean", "joined"), [(6.0, True), (30.0, False)])
def test_a_norm_far_from_its_mean_is_taken_from_its_output(mean: float, joined: bool) -> None:
    """Its gradients are small beside what they would be the difference of."""
    model, x, y = made(dtype=torch.float32)
    with torch.no_grad():
        model.bn1.weight.fill_(1.0)
        model.bn1.running_var.fill_(1.0)  # type: ignore[operator,union-attr]
        model.bn1.running_mean.fill_(mean)  # type: ignore[operator,union-attr]
    engine = SquaredGradients(model, x)
    weights, _ = squares(model, x, y)
    with engine.running(x, weights) as run:
        assert ("bn1" not in run.plan.calls) is joined
    grads = label_gradients(model.double(), x.double(), y)
    model.float()
    found = engine.contributions(x, lambda z: (z.softmax(1) - F.one_hot(y, 3)).unsqueeze(0), weights)[0][0]
    for name in ("bn1.weight", "bn1.bias", "conv1.weight"):
        wanted = (grads[name].square() * weights[name].double()).flatten(1).sum(1)
        torch.testing.assert_close(found[name].double(), wanted, rtol=1e-3, atol=1e-5 * float(wanted.max()))


def test_hooks_and_training_mode_are_left_alone() -> None:
    model, x, y = made()
    engine = SquaredGradients(model, x)
    seen: list[Tensor] = []
    handle = model.conv2.register_forward_hook(lambda module, args, out: seen.append(out.detach().clone()))
    assert set(FoldedNorms(engine.plan.modules, engine.plan.pairs).now()) == {"conv1"}
    weights, wanted = squares(model, x[:4], y[:4])
    seen.clear()
    torch.testing.assert_close(engine.scores(x[:4], y[:4], weights)[0], sum(wanted.values()))
    handle.remove()
    torch.testing.assert_close(seen[0], model.conv2(F.relu(model.bn1(model.conv1(x[:4])))).detach())
    model.train()
    assert FoldedNorms(engine.plan.modules, engine.plan.pairs).now() == {}


def test_the_model_is_left_as_it_was_after_an_error() -> None:
    model, x, _ = made()
    engine = SquaredGradients(model, x)
    folded = FoldedNorms(engine.plan.modules, engine.plan.pairs).now()
    with pytest.raises(KeyError), folded_norms(engine.plan.modules, folded):
        assert "forward" in vars(model.conv1)
        raise KeyError("of the model")
    assert not any("forward" in vars(module) for module in model.modules())


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_a_fused_optimizer_or_data_changes_is_seen(precision: str) -> None:
    """Neither tells PyTorch: the tensors and their versions stay as they were."""
    torch.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(16, 16, 3), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3), nn.Flatten(), nn.Linear(64, 4)
    ).eval()
    x, y = torch.randn(6, 16, 6, 6), torch.randint(0, 4, (6,))
    weights = {name: torch.rand_like(value) for name, value in model.named_parameters()}
    engine = SquaredGradients(model, x, precision=precision)
    before = engine.scores(x, y, weights)[0]
    optimizer = torch.optim.AdamW(model.parameters(), lr=0.05, fused=True)
    for change in (optimizer.step, lambda: model[1].running_mean.data.add_(0.5)):  # type: ignore[union-attr]
        nn.functional.cross_entropy(model(x), y).backward()
        versions = [value._version for value in (model[0].weight, model[3].weight, model[1].running_mean)]
        change()
        assert versions == [value._version for value in (model[0].weight, model[3].weight, model[1].running_mean)]
        after = engine.scores(x, y, weights)[0]
        fresh = SquaredGradients(model, x, precision=precision).scores(x, y, weights)[0]
        torch.testing.assert_close(after, fresh, rtol=1e-6, atol=0)
        assert ((after - before).abs() > 1e-3 * before).any()
        before = after


def test_what_is_remembered_is_of_these_very_tensors() -> None:
    """A part of a tensor shares its address and version."""
    kept, whole = Remembered[int](), torch.arange(6.0)
    for tensors in ([whole], [whole[:3]], [whole.view(2, 3)]):
        assert kept.get("key", tensors, lambda tensors=tensors: len(tensors[0])) == len(tensors[0])
        assert kept.get("key", tensors, lambda: -1) == len(tensors[0])
