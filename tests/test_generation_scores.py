"""Eq. 20, Eq. 21, TracIn and DataInf on gradients, against dense matrices by autograd."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_language import tiny_task
from torch import Tensor
from torch.func import functional_call

from fvm_core.errors import DataError, SettingsError
from fvm_core.generation.language_task import TokenBatch, target_losses
from fvm_core.generation.lora import lora_parameters
from fvm_core.generation.lora_gradients import layout_of, sample_gradients
from fvm_core.generation.pair_scores import (
    datainf_directions,
    first_order,
    fisher_weights,
    second_order,
    self_scores,
    tracin,
)

SLICES = {"a": slice(0, 3), "b": slice(3, 10)}


def drawn(n: int, seed: int) -> Tensor:
    return torch.randn(n, 10, generator=torch.Generator().manual_seed(seed))


def test_fisher_weights_are_the_inverse_of_the_mean_square_and_its_damping() -> None:
    val = drawn(6, 0)
    weights, damping = fisher_weights(val, damping=0.5)
    fisher = sum(torch.outer(row, row) for row in val.double()) / 6  # type: ignore[operator]
    assert damping == pytest.approx(0.5 * float(fisher.diagonal().mean()), rel=1e-6)
    torch.testing.assert_close(weights.double(), 1 / (fisher.diagonal() + damping), rtol=1e-6, atol=0)


def test_eq20_is_the_dense_formula_with_the_empirical_fisher_of_one_pair() -> None:
    train, val, epsilon = drawn(5, 1).double(), drawn(4, 2).double(), 0.3
    weights, damping = fisher_weights(val, damping=0.1)
    first = first_order(train.float(), val.float(), weights)
    found = first + second_order(first, epsilon=epsilon)
    inverse = torch.linalg.inv(torch.diag((val.square().sum(0) / 4) + damping))
    for n, g in enumerate(train):
        for v, w in enumerate(val):
            hessian = torch.outer(w, w)
            wanted = w @ inverse @ g + 0.5 * epsilon * g @ inverse @ hessian @ inverse @ g
            assert found[n, v].item() == pytest.approx(wanted.item(), rel=1e-4)


def test_eq21_is_the_sum_of_second_terms_over_the_validation_set_up_to_the_fishers_diagonal() -> None:
    """Eq. 59: with the dense Fisher for P^-1 and no damping, sum_m g^T P g_m g_m^T P g = M g^T P g."""
    train, val = drawn(5, 1).double(), drawn(40, 2).double()
    inverse = torch.linalg.inv(val.T @ val / 40)
    second = sum((train @ inverse @ w).square() for w in val)
    torch.testing.assert_close(second, 40 * ((train @ inverse) * train).sum(1))
    diagonal = 1 / val.square().mean(0)
    torch.testing.assert_close(self_scores(train, diagonal), torch.stack([g @ torch.diag(diagonal) @ g for g in train]))


def test_datainf_is_the_mean_of_inverses_layer_by_layer() -> None:
    train, val = drawn(7, 3).double(), drawn(4, 4).double()
    found = datainf_directions(lambda: train.split(3), val, SLICES, damping=0.1)
    for place in SLICES.values():
        part = train[:, place]
        lam = 0.1 * part.square().mean()
        eye = torch.eye(part.shape[1], dtype=torch.float64)
        mean = sum(torch.linalg.inv(torch.outer(g, g) + lam * eye) for g in part) / 7  # type: ignore[operator]
        torch.testing.assert_close(found[:, place], val[:, place] @ mean)


def test_datainf_leaves_a_layer_that_nothing_moves_at_zero() -> None:
    train, val = drawn(7, 3), drawn(4, 4)
    train[:, SLICES["a"]] = 0.0
    found = datainf_directions(lambda: [train], val, SLICES, damping=0.1)
    assert not found[:, SLICES["a"]].any() and found[:, SLICES["b"]].all()


def test_bad_settings_and_gradients_are_refused() -> None:
    with pytest.raises(SettingsError, match=r"`damping` must be > 0, got 0"):
        fisher_weights(drawn(2, 0), damping=0)
    with pytest.raises(DataError, match=r"the validation set has no pair"):
        fisher_weights(drawn(2, 0)[:0], damping=1.0)
    for bad in (torch.zeros(2, 10), torch.full((2, 10), torch.nan)):
        with pytest.raises(DataError, match=r"must be finite and not all zero"):
            fisher_weights(bad, damping=1.0)
    with pytest.raises(SettingsError, match=r"`epsilon` must be >= 0, got -1"):
        second_order(drawn(2, 0), epsilon=-1)
    with pytest.raises(SettingsError, match=r"`datainf_damping` must be > 0, got 0"):
        datainf_directions(lambda: [drawn(2, 0)], drawn(1, 0), SLICES, damping=0)
    with pytest.raises(DataError, match=r"the training set has no pair"):
        datainf_directions(lambda: [], drawn(1, 0), SLICES, damping=0.1)
    tiny = drawn(3, 0) * 1e-30
    with pytest.raises(SettingsError, match=r"`datainf_damping` must be large enough .* layer `a`"):
        datainf_directions(lambda: [tiny], drawn(1, 0) * 1e30, SLICES, damping=1e-9)


def test_signs_of_a_real_step_on_a_tiny_model(tmp_path: Path) -> None:
    """A small step down a training pair's loss, preconditioned as in Eq. 18, changes each validation pair's loss by
    minus the first-order score; the second-order one is the empirical Fisher's, never negative."""
    task = tiny_task(tmp_path)
    layout = layout_of(task.model)
    _, grads = sample_gradients(task, [0, 1, 2, 3, 4], layout)
    weights, _ = fisher_weights(grads, damping=1.0)
    first = first_order(grads, grads, weights)
    batch: TokenBatch = task.batch([0, 1, 2, 3, 4])
    size = 1e-3 / float((grads[1] * weights).norm())
    step = {
        name: (value - size * part.view_as(value)).double()
        for (name, value), part in zip(
            lora_parameters(task.model).items(), layout.split(grads[1] * weights).values(), strict=True
        )
    }
    model = task.model.double()

    def losses(values: dict[str, Tensor]) -> Tensor:
        class Called(torch.nn.Module):
            def forward(self, **kwargs: object) -> object:
                return functional_call(model, values, (), kwargs)

        return target_losses(Called(), batch).double()

    before = losses({name: value.detach() for name, value in lora_parameters(model).items()})
    change = losses(step) - before
    torch.testing.assert_close(change.detach(), -size * first[1].double(), rtol=0.05, atol=3e-5)
    assert change[1] < 0 < first[1, 1]
    assert (second_order(first, epsilon=0.01) >= 0).all()


def test_tracin_is_the_dot_product() -> None:
    train, val = drawn(3, 0), drawn(2, 1)
    wanted = sum(a * b for a, b in zip(train[2].tolist(), val[1].tolist(), strict=True))
    assert tracin(train, val)[2, 1].item() == pytest.approx(wanted, rel=1e-5)
