"""The diagonal halves of the paper's form (Table 6) against per-sample gradients of torch.func."""

from __future__ import annotations

import pytest
import torch
from small_nets import label_gradients, small_data, small_net

from fvm_core.errors import SettingsError
from fvm_core.influence.ablation import first_order_direction, second_order_weights
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.standard import standard_scores, validation_gradient

DAMPING = 1e-3


def test_first_and_second_order_equal_sums_over_parameters() -> None:
    model = small_net()
    training, validation, sample = small_data(20, 1), small_data(15, 2), small_data(6, 3)
    grads = {name: label_gradients(model, *data) for name, data in (("tr", training), ("val", validation))}
    fisher = {key: {n: g.square().mean(0) for n, g in grads[key].items()} for key in grads}
    g_val = {name: value.mean(0) for name, value in grads["val"].items()}
    g_z = label_gradients(model, *sample)
    made = {"tr": fisher_diagonal(model, [training]), "val": fisher_diagonal(model, [validation])}
    gradient = validation_gradient(model, [validation])
    x, y = sample
    for key in ("tr", "val"):
        direction = first_order_direction(gradient, made[key], damping=DAMPING)
        scores = standard_scores(model, x, direction)[0].gather(1, y[:, None])[:, 0]
        expected = sum((g_z[name] * g_val[name] / (fisher[key][name] + DAMPING)).flatten(1).sum(1) for name in g_val)
        torch.testing.assert_close(scores, expected, rtol=1e-8, atol=1e-10)
    weights = second_order_weights(made["val"], made["tr"], damping=DAMPING, dtype=torch.float64)
    scores = SquaredGradients(model, x).scores(x, y, weights)[0]
    expected = sum(
        (g_z[n].square() * fisher["val"][n] / (fisher["tr"][n] + DAMPING) ** 2).flatten(1).sum(1) for n in g_val
    )
    torch.testing.assert_close(scores, expected, rtol=1e-8, atol=1e-10)


def test_bad_damping_is_named() -> None:
    zero, one = {"w": torch.zeros(2)}, {"w": torch.ones(2)}
    with pytest.raises(SettingsError, match="`damping` must be > 0 here"):
        first_order_direction(one, zero, damping=0.0)
    with pytest.raises(
        SettingsError, match=r"`damping` must be large enough for F_val / \(F_tr \+ damping\)\^2 of `w`"
    ):
        second_order_weights(one, zero, damping=1e-30)
