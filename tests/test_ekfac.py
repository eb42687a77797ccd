"""EK-FAC against an explicit construction with kron and eigh, against curvlinops, and its scores against autograd."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
import torch
from curvlinops import EKFACLinearOperator
from small_nets import SmallNet, label_gradients, small_data, small_net
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence import kronecker
from fvm_core.influence.eigen_rule import EigenGradients
from fvm_core.influence.ekfac import Ekfac, apply, fit_ekfac, outside
from fvm_core.influence.gauss_newton import RandomSigns, signed_residuals
from fvm_core.influence.kronecker import eigenbases, factored_layers, kronecker_factors
from fvm_core.influence.per_sample import SquaredGradients, residuals
from fvm_core.influence.relabel import all_labels, shortlist

FACTORED = ("first", "dilated", "hidden", "head")


def batches_of(x: Tensor, y: Tensor, size: int = 7) -> Any:
    return lambda: zip(x.split(size), y.split(size), strict=True)


def layer_inputs(model: SmallNet, x: Tensor, y: Tensor) -> dict[str, tuple[Tensor, Tensor]]:
    """Return {layer: inputs (b, t, i) with ones for a bias, output gradients (b, t, o)}, by autograd and F.unfold."""
    seen: dict[str, tuple[Tensor, Tensor]] = {}

    def keep(name: str) -> Any:
        def hook(module: nn.Module, args: tuple[Tensor, ...], out: Tensor) -> None:
            out.retain_grad()
            seen[name] = (args[0].detach(), out)

        return hook

    handles = [getattr(model, name).register_forward_hook(keep(name)) for name in FACTORED]
    F.cross_entropy(model(x), y, reduction="sum").backward()
    for handle in handles:
        handle.remove()
    found = {}
    for name, (a, out) in seen.items():
        module, g = getattr(model, name), out.grad
        assert g is not None
        if isinstance(module, nn.Conv2d):
            a = F.unfold(a, module.kernel_size, module.dilation, module.padding, module.stride).transpose(1, 2)
            g = g.flatten(2).transpose(1, 2)
        else:
            a, g = a[:, None], g[:, None]
        if module.bias is not None:
            a = torch.cat([a, torch.ones(*a.shape[:2], 1, dtype=a.dtype)], dim=2)
        found[name] = (a, g)
    return found


def dense_ekfac(model: SmallNet, x: Tensor, y: Tensor, name: str) -> tuple[Tensor, Tensor]:
    """Return the (o * i, o * i) matrix of one layer, and its eigenvalues, with kron and eigh written out."""
    a, g = layer_inputs(model, x, y)[name]
    _, inner = torch.linalg.eigh(torch.einsum("bti,btj->ij", a, a) / len(x))
    _, outer = torch.linalg.eigh(torch.einsum("bti,btj->ij", g, g) / len(x))
    basis = torch.kron(outer, inner)
    gradients = torch.einsum("bto,bti->boi", g, a).flatten(1)
    values = (gradients @ basis).square().mean(0)
    return basis @ values.diag() @ basis.t(), values


def joint(v: dict[str, Tensor], name: str) -> Tensor:
    """Return a layer's part of v as (o * i,): weight and bias side by side."""
    weight = v[f"{name}.weight"].flatten(1)
    if f"{name}.bias" in v:
        weight = torch.cat([weight, v[f"{name}.bias"][:, None]], dim=1)
    return weight.flatten()


@pytest.mark.parametrize("budget", [2**25, 4000], ids=["at once", "piece by piece"])
def test_the_curvature_and_its_inverse_equal_kron_and_eigh(budget: int) -> None:
    model, (x, y) = small_net(), small_data(30)
    engine = SquaredGradients(model, x, budget=budget)
    found = fit_ekfac(engine, batches_of(x, y), lambda logits, labels: residuals(logits, labels))
    assert set(found.bases) == set(FACTORED)
    v = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    times, over = apply(found, found.values, v), apply(found, found.damped(0.1), v)
    for name in FACTORED:
        matrix, values = dense_ekfac(model, x, y, name)
        torch.testing.assert_close(joint(times, name), matrix @ joint(v, name), rtol=1e-8, atol=1e-12)
        matrix += 0.1 * values.mean() * torch.eye(len(matrix), dtype=matrix.dtype)
        torch.testing.assert_close(joint(over, name), torch.linalg.solve(matrix, joint(v, name)), rtol=1e-7, atol=1e-9)
    gradients = label_gradients(model, x, y)
    for name in ("norm.weight", "norm.bias", "grouped.weight", "grouped.bias"):
        diagonal = gradients[name].square().mean(0)
        torch.testing.assert_close(times[name], diagonal * v[name])
        torch.testing.assert_close(over[name], v[name] / (diagonal + 0.1 * diagonal.mean()))
    assert list(over) == list(v)


def curvlinops_product(model: nn.Module, x: Tensor, y: Tensor, v: list[Tensor], kind: str) -> list[Tensor]:
    """Return curvlinops's EK-FAC of the mean cross-entropy times v, weight and bias in one factor."""
    operator = EKFACLinearOperator(
        model, nn.CrossEntropyLoss(), list(model.parameters()), list(batches_of(x, y)()), fisher_type=kind,
        separate_weight_and_bias=False, check_deterministic=False,
    )  # fmt: skip
    return operator @ v


def plain_net() -> nn.Sequential:
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(2, 4, 3, stride=2, padding=1, bias=False), nn.ReLU(), nn.Conv2d(4, 3, 2, padding=1), nn.Tanh(),
        nn.Flatten(), nn.Linear(75, 3),
    ).double()  # fmt: skip


def test_the_empirical_fisher_equals_curvlinops() -> None:
    model, (x, y) = plain_net(), small_data(25)
    engine = SquaredGradients(model, x)
    found = fit_ekfac(engine, batches_of(x, y), lambda logits, labels: residuals(logits, labels))
    v = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    reference = curvlinops_product(model, x, y, list(v.values()), "empirical")
    for ours, theirs in zip(apply(found, found.values, v).values(), reference, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-11)


def test_signed_residuals_over_all_signs_equal_curvlinops_gauss_newton() -> None:
    """Every sample once with each of the 8 sign patterns of 3 classes: the mean is exact, no draw is left to chance."""
    model, (x, y) = plain_net(), small_data(12)
    patterns = torch.tensor(list(itertools.product([-1.0, 1.0], repeat=3)), dtype=torch.float64)
    repeated = x.repeat_interleave(8, 0), torch.arange(8).repeat(len(x))
    engine = SquaredGradients(model, x)
    found = fit_ekfac(engine, batches_of(*repeated), lambda logits, which: signed_residuals(logits, patterns[which]))
    v = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    reference = curvlinops_product(model, x, y, list(v.values()), "type-2")
    for ours, theirs in zip(apply(found, found.values, v).values(), reference, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-7, atol=1e-11)


def test_random_signs_have_the_hessian_at_the_logits_as_second_moment() -> None:
    torch.manual_seed(0)
    logits = 2 * torch.randn(1, 4, dtype=torch.float64)
    p = logits.softmax(1)[0]
    hessian = torch.func.hessian(lambda z: F.cross_entropy(z[None], torch.tensor([2])))(logits[0])
    torch.testing.assert_close(hessian, p.diag() - torch.outer(p, p))
    pull = RandomSigns(3)
    draws = 40_000
    pulls = pull(logits.expand(draws, 4), torch.zeros(draws))
    products = torch.einsum("bi,bj->bij", pulls, pulls)
    error = products.std(0) / draws**0.5
    assert ((products.mean(0) - hessian).abs() < 4.5 * error + 1e-12).all()
    assert torch.equal(RandomSigns(3)(logits, p), RandomSigns(3)(logits, p))
    assert not torch.equal(pull(logits.expand(9, 4), p), pull(logits.expand(9, 4), p))


@pytest.mark.parametrize("budget", [2**25, 3000], ids=["at once", "piece by piece"])
def test_scores_of_all_labels_equal_the_quadratic_form(budget: int) -> None:
    model, (x, y) = small_net(), small_data(20)
    engine = SquaredGradients(model, x, budget=budget)
    found = fit_ekfac(engine, batches_of(x, y), lambda logits, labels: residuals(logits, labels))
    weights = found.damped(0.1)
    turned = EigenGradients(engine, found.bases)
    x, y = small_data(6, seed=5)
    expected = torch.zeros(6, 3, dtype=torch.float64)
    for label in range(3):
        gradients = label_gradients(model, x, torch.full((6,), label))
        for row in range(6):
            g = {name: value[row] for name, value in gradients.items()}
            solved = apply(found, weights, g)
            expected[row, label] = sum((g[name] * solved[name]).sum() for name in g)
    every = all_labels(turned, x, y, weights, classes=3)
    torch.testing.assert_close(every.scores, expected, rtol=1e-8, atol=1e-12)
    torch.testing.assert_close(turned.scores(x, y, weights)[0], expected.gather(1, y[:, None])[:, 0])
    short = shortlist(turned, x, y, weights, classes=3, batch_size=4)
    assert torch.equal(short.suggested, expected.argmin(1))
    assert (short.scores <= expected * (1 + 1e-9)).all(), "a label's bound is above its score"
    torch.testing.assert_close(short.scores[short.exact], expected[short.exact])


def test_the_shortlist_spares_labels_by_the_last_layers_in_their_bases() -> None:
    torch.manual_seed(0)
    hidden = [layer for _ in range(3) for layer in (nn.Linear(12, 12), nn.Tanh())]
    model = nn.Sequential(nn.Linear(30, 12), nn.Tanh(), *hidden, nn.Linear(12, 12)).double()
    x, y = torch.randn(40, 30, dtype=torch.float64), torch.randint(12, (40,))
    optimizer = torch.optim.Adam(model.parameters(), lr=0.01)
    for _ in range(150):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()
    engine = SquaredGradients(model, x)
    found = fit_ekfac(engine, batches_of(x, y), lambda logits, labels: residuals(logits, labels))
    turned, weights = EigenGradients(engine, found.bases), found.damped(0.1)
    short, every = (way(turned, x, y, weights, classes=12) for way in (shortlist, all_labels))
    assert torch.equal(short.suggested, every.suggested)
    torch.testing.assert_close(short.scores[short.exact], every.scores[short.exact])
    assert (short.scores <= every.scores * (1 + 1e-9)).all(), "a label's bound is above its score"
    assert short.exact.double().mean() < 0.6


class Twice(nn.Module):
    """One Linear layer over the positions of a sequence, run twice."""

    def __init__(self) -> None:
        super().__init__()
        self.body, self.head = nn.Linear(4, 4), nn.Linear(4, 3)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(torch.tanh(self.body(torch.tanh(self.body(x)))).mean(1))


def test_a_layer_that_runs_twice_over_positions_has_its_whole_gradient() -> None:
    torch.manual_seed(0)
    model = Twice().double()
    x, y = torch.randn(9, 5, 4, dtype=torch.float64), torch.randint(3, (9,))
    engine = SquaredGradients(model, x)
    found = fit_ekfac(engine, batches_of(x, y, 4), lambda logits, labels: residuals(logits, labels))
    gradients = label_gradients(model, x, y)
    whole = torch.cat([gradients["body.weight"], gradients["body.bias"][:, :, None]], dim=2)
    basis = found.bases["body"]
    turned = basis.outer.t() @ whole @ basis.inner
    torch.testing.assert_close(found.values["body"], turned.square().mean(0))
    scores = EigenGradients(engine, found.bases).scores(x, y, {"body": found.damped(0.1)["body"]})[0]
    torch.testing.assert_close(scores, (turned.square() * found.damped(0.1)["body"]).flatten(1).sum(1))


def test_a_layer_beyond_the_limit_is_taken_by_its_diagonal_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    model, (x, _) = small_net(), small_data(4)
    engine = SquaredGradients(model, x)
    assert set(factored_layers(engine)) == set(FACTORED)
    monkeypatch.setattr(kronecker, "LARGEST_SIDE", 18)
    assert set(factored_layers(engine)) == {"first", "head"}
    assert "dilated.weight" in outside(engine)[0] and "own diagonal" in outside(engine)[0]
    linear = nn.Linear(3, 2).double()
    assert outside(SquaredGradients(linear, torch.randn(5, 3, dtype=torch.float64))) == ()


def test_progress_counts_both_passes_and_can_stop_the_work() -> None:
    model, (x, y) = small_net(), small_data(10)
    engine = SquaredGradients(model, x)
    told: list[int] = []
    layers: list[str] = []
    pull = RandomSigns(0)
    fit_ekfac(engine, batches_of(x, y, 4), pull, progress=told.append, turning=layers.append)
    assert told == [4, 8, 10, 14, 18, 20] and set(layers) == set(FACTORED)

    class Stopped(Exception):
        pass

    def stop(done: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        fit_ekfac(engine, batches_of(x, y, 4), pull, progress=stop)
    assert not any(module._forward_hooks for module in model.modules()), "hooks stay after a stop"


def test_state_comes_back_from_a_safe_load(tmp_path: Any) -> None:
    model, (x, y) = small_net(), small_data(10)
    found = fit_ekfac(SquaredGradients(model, x), batches_of(x, y), RandomSigns(0))
    torch.save(found.to_state(), tmp_path / "state.pt")
    back = Ekfac.from_state(torch.load(tmp_path / "state.pt", weights_only=True), torch.device("cpu"))
    v = {name: torch.randn_like(value) for name, value in model.named_parameters()}
    for one, two in zip(
        apply(found, found.damped(0.1), v).values(), apply(back, back.damped(0.1), v).values(), strict=True
    ):
        assert torch.equal(one, two)


def test_what_no_sample_moves_is_left_out_and_listed() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].bias.fill_(-1e3)
    x, y = torch.randn(8, 4, dtype=torch.float64), torch.randint(2, (8,))
    found = fit_ekfac(SquaredGradients(model, x), batches_of(x, y), RandomSigns(0))
    assert found.still() == ["0"]
    solved = apply(found, found.damped(0.1), {name: torch.ones_like(p) for name, p in model.named_parameters()})
    assert not solved["0.weight"].any() and solved["2.weight"].any()


def test_bad_input_is_named() -> None:
    values = {"w": torch.tensor([1e-38, 1e-44], dtype=torch.float64)}
    with pytest.raises(SettingsError, match=r"`ekfac_damping` must be > 0, got 0\.0"):
        Ekfac({}, values).damped(0.0)
    with pytest.raises(SettingsError, match="`ekfac_damping` must be large enough to invert the curvature of `w`"):
        Ekfac({}, values).damped(1e-9, dtype=torch.float32)
    with pytest.raises(DataError, match="the curvature of `w` is not finite"):
        Ekfac({}, {"w": torch.tensor([1.0, torch.nan], dtype=torch.float64)}).damped(0.1)
    model, (x, _) = plain_net(), small_data(4)
    engine = SquaredGradients(model, x)
    with pytest.raises(DataError, match="the curvature has no sample"):
        kronecker_factors(engine, [], RandomSigns(0))
    broken = {"5": (torch.full((2, 2), torch.nan), torch.eye(2))}
    with pytest.raises(DataError, match="factors of layer `5` are not finite"):
        eigenbases(broken, {"5": ("5.weight",)})
