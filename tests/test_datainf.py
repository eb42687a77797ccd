"""DataInf's closed form against dense inverses of each sample's own matrix, layer by layer."""

from __future__ import annotations

import pytest
import torch
from small_nets import label_gradients, small_data, small_net
from torch import Tensor, nn

from fvm_core.errors import DataError, SettingsError
from fvm_core.influence.datainf import datainf, layer_damping
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.layer_gradients import layers_of
from fvm_core.influence.per_sample import SquaredGradients


def dense(gradients: dict[str, Tensor], names: tuple[str, ...], v: dict[str, Tensor], scale: float) -> Tensor:
    """Return the mean over samples of (g g^T + scale I)^-1 v of one layer, each matrix inverted as it is."""
    g = torch.cat([gradients[name].flatten(1) for name in names], dim=1)
    vector = torch.cat([v[name].flatten() for name in names])
    matrices = torch.einsum("bi,bj->bij", g, g) + scale * torch.eye(g.shape[1], dtype=g.dtype)
    return torch.linalg.inv(matrices).mean(0) @ vector


@pytest.mark.parametrize("budget", [2**25, 3000], ids=["at once", "piece by piece"])
def test_closed_form_equals_the_mean_of_dense_inverses(budget: int) -> None:
    model, (x, y) = small_net(), small_data(15)
    engine = SquaredGradients(model, x, budget=budget)
    batches = list(zip(x.split(4), y.split(4), strict=True))
    gradients = label_gradients(model, x, y)
    lambdas = layer_damping(engine, fisher_diagonal(model, batches, engine=engine), damping=0.1)
    vectors = [{name: torch.randn_like(value) for name, value in model.named_parameters()} for _ in range(2)]
    found = datainf(engine, batches, vectors, lambdas)
    layers = layers_of(engine)
    assert {"first", "norm", "grouped", "head"} <= set(layers) == set(lambdas)
    for layer, names in layers.items():
        every = torch.cat([gradients[name].flatten(1) for name in names], dim=1)
        assert lambdas[layer] == pytest.approx(0.1 * every.square().mean().item(), rel=1e-10)
        for v, solved in zip(vectors, found, strict=True):
            ours = torch.cat([solved[name].flatten() for name in names])
            torch.testing.assert_close(ours, dense(gradients, names, v, lambdas[layer]), rtol=1e-8, atol=1e-8)


def test_one_sample_is_inverted_exactly() -> None:
    """With n = 1 nothing is swapped: DataInf is the inverse of g g^T + lambda itself."""
    model, (x, y) = small_net(), small_data(1)
    engine = SquaredGradients(model, x)
    lambdas = layer_damping(engine, fisher_diagonal(model, [(x, y)], engine=engine), damping=0.5)
    g = {name: value[0] for name, value in label_gradients(model, x, y).items()}
    solved = datainf(engine, [(x, y)], [g], lambdas)[0]
    for layer, names in layers_of(engine).items():
        square = sum(g[name].square().sum().item() for name in names)
        for name in names:
            torch.testing.assert_close(solved[name], g[name] / (lambdas[layer] + square))


def test_progress_counts_samples_and_can_stop_the_work() -> None:
    model, (x, y) = small_net(), small_data(10)
    engine = SquaredGradients(model, x)
    batches = list(zip(x.split(4), y.split(4), strict=True))
    lambdas = layer_damping(engine, fisher_diagonal(model, batches, engine=engine), damping=0.1)
    v = [{name: torch.ones_like(value) for name, value in model.named_parameters()}]
    told: list[int] = []
    datainf(engine, batches, v, lambdas, progress=told.append)
    assert told == [4, 8, 10]

    class Stopped(Exception):
        pass

    def stop(done: int) -> None:
        raise Stopped

    with pytest.raises(Stopped):
        datainf(engine, batches, v, lambdas, progress=stop)


def test_a_layer_that_no_sample_moves_is_left_out() -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(4, 3), nn.ReLU(), nn.Linear(3, 2)).double()
    with torch.no_grad():
        model[0].bias.fill_(-1e3)
    x, y = torch.randn(8, 4, dtype=torch.float64), torch.randint(2, (8,))
    engine = SquaredGradients(model, x)
    lambdas = layer_damping(engine, fisher_diagonal(model, [(x, y)], engine=engine), damping=0.1)
    assert lambdas["0"] == 0 < lambdas["2"]
    solved = datainf(engine, [(x, y)], [{n: torch.ones_like(p) for n, p in model.named_parameters()}], lambdas)[0]
    assert not solved["0.weight"].any() and solved["2.weight"].any()


def test_bad_input_is_named() -> None:
    model, (x, y) = small_net(), small_data(4)
    engine = SquaredGradients(model, x)
    fisher = fisher_diagonal(model, [(x, y)], engine=engine)
    with pytest.raises(SettingsError, match=r"`datainf_damping` must be > 0, got 0\.0"):
        layer_damping(engine, fisher, damping=0.0)
    with pytest.raises(DataError, match="the gradients of layer `first` are not finite"):
        layer_damping(engine, {name: value * torch.nan for name, value in fisher.items()}, damping=0.1)
    v = {name: torch.ones_like(value) for name, value in model.named_parameters()}
    with pytest.raises(DataError, match="the curvature has no sample: DataInf needs at least one"):
        datainf(engine, [], [v], layer_damping(engine, fisher, damping=0.1))
    tiny = dict.fromkeys(layers_of(engine), 5e-324)
    with pytest.raises(SettingsError, match="`datainf_damping` must be large enough to invert"):
        datainf(engine, [(x, y)], [v], tiny)
