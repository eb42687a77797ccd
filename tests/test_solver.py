"""What every solver must keep to: weights, BatchNorm, clipping, bf16, and plain SGD where it looks nowhere."""

from __future__ import annotations

import math
import re
from copy import deepcopy
from typing import Any

import pytest
import torch
from solver_cases import SHARP, TWO_PASSES, bn_net, cross_entropy, far, flat, images, sgd, solver
from torch import nn
from torch.nn import functional as F

from fvm_core.errors import SettingsError
from fvm_core.tuning.asam import Asam
from fvm_core.tuning.batches import Batches
from fvm_core.tuning.fsam import FSam
from fvm_core.tuning.lpf import Lpf
from fvm_core.tuning.make_solver import MAKERS, make_solver, remedy
from fvm_core.tuning.sam import Sam, sam_step
from fvm_core.tuning.settings import SOLVERS, TuneSettings
from fvm_core.tuning.setup import check_batches
from fvm_core.tuning.sgd import Sgd
from fvm_core.tuning.solver import descend

SEVERAL = 3


def plain_steps(model: nn.Module, steps: int, **options: float) -> dict[str, torch.Tensor]:
    """Return the state after steps of torch's own SGD, written out."""
    optimizer, (x, y) = sgd(model, **options), images()
    for _ in range(steps):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
    return model.state_dict()


def test_every_solver_has_a_maker_and_a_class_of_its_own() -> None:
    assert tuple(MAKERS) == SOLVERS == ("sgd", "sam", "asam", "fsam", "lpf")
    made = [type(make_solver(TuneSettings(solver=name))) for name in SOLVERS]
    assert made == [Sgd, Sam, Asam, FSam, Lpf]


def test_settings_reach_the_solver_that_they_name() -> None:
    given: dict[str, Any] = {"rho": 0.3, "clip_norm": 2.0, "seed": 7, "steps": 9}
    assert solver("sam", **given) == Sam(rho=0.3, clip_norm=2.0)
    assert solver("asam", asam_eta=0.2, **given) == Asam(rho=0.3, eta=0.2, clip_norm=2.0)
    assert solver("fsam", fsam_sigma=0.5, fsam_lambda=0.6, **given) == FSam(
        rho=0.3, sigma=0.5, lambda_=0.6, clip_norm=2.0
    )
    assert solver("lpf", lpf_gamma=0.1, lpf_draws=4, lpf_growth=16.0, **given) == Lpf(
        gamma=0.1, draws=4, growth=16.0, seed=7, steps=9, clip_norm=2.0
    )


@pytest.mark.parametrize("name", SOLVERS)
def test_a_solver_that_looks_nowhere_is_sgd_bit_for_bit(name: str) -> None:
    model, options = bn_net(), {"momentum": 0.9, "weight_decay": 1e-2}
    here, optimizer = solver(name, rho=0.0, lpf_gamma=0.0), sgd(model, **options)
    loss = cross_entropy(model)
    for k in range(SEVERAL):
        here.step(model, optimizer, loss, k=k)
    wanted = plain_steps(bn_net(), SEVERAL, **options)
    for key, value in model.state_dict().items():
        assert torch.equal(value, wanted[key]), key


@pytest.mark.parametrize("name", SHARP)
def test_a_solver_that_looks_about_is_not_sgd(name: str) -> None:
    model = bn_net()
    solver(name, rho=0.5, lpf_gamma=0.1).step(model, sgd(model), cross_entropy(model), k=0)
    wanted = plain_steps(bn_net(), 1)
    assert not torch.equal(model[4].weight, wanted["4.weight"])


@pytest.mark.parametrize("name", SOLVERS)
def test_weights_come_back_bit_for_bit(name: str) -> None:
    model = bn_net()
    before, here, loss = flat(model), solver(name, lpf_draws=2, **far(name)), cross_entropy(model)
    for k in range(SEVERAL):
        here.step(model, sgd(model, lr=0.0), loss, k=k)
    assert torch.equal(flat(model), before)
    if name in SHARP:
        assert max(float((seen - before).norm()) for seen in loss.weights) > 1e3


@pytest.mark.parametrize("name", SHARP)
def test_weights_come_back_when_a_pass_fails(name: str) -> None:
    model = bn_net()
    before, loss = flat(model), cross_entropy(model)

    def failing(rows: slice | None = None) -> torch.Tensor:
        if not torch.equal(flat(model), before):
            raise RuntimeError("out of memory")
        return loss(rows)

    failing.size = loss.size  # type: ignore[attr-defined]
    with pytest.raises(RuntimeError, match="out of memory"):
        solver(name).step(model, sgd(model), failing, k=0)
    assert torch.equal(flat(model), before)


@pytest.mark.parametrize("name", TWO_PASSES)
def test_batchnorm_sees_the_first_pass_only(name: str) -> None:
    model, single, (x, _) = bn_net(), bn_net(), images()
    here, loss = solver(name, **far(name)), cross_entropy(model)
    for k in range(SEVERAL):
        here.step(model, sgd(model, lr=0.0), loss, k=k)
        single(x)
    assert len(loss.rows) == 2 * SEVERAL
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, single.get_buffer(key)), key


@pytest.mark.parametrize("draws", [1, 3])
def test_batchnorm_sees_every_sample_once_under_lpf(draws: int) -> None:
    """Without noise the statistics are those of the shares, one after the other."""
    model, shared, (x, _) = bn_net(), bn_net(), images()
    solver("lpf", lpf_gamma=0.0, lpf_draws=draws).step(model, sgd(model), cross_entropy(model), k=0)
    for part in {1: (x,), 3: (x[:2], x[2:5], x[5:])}[draws]:
        shared(part)
    for key, buffer in model.named_buffers():
        assert torch.equal(buffer, shared.get_buffer(key)), key
    assert int(model[1].num_batches_tracked) == draws


@pytest.mark.parametrize("name", SOLVERS)
def test_clipping_shortens_the_gradient_of_the_step_and_not_the_ascent(name: str) -> None:
    moved, seen = {}, {}
    for clip in (None, 0.25, 1e6):
        model = bn_net()
        before, loss = flat(model), cross_entropy(model)
        solver(name, rho=0.5, lpf_gamma=0.1, clip_norm=clip).step(model, sgd(model, lr=1.0), loss, k=0)
        moved[clip], seen[clip] = before - flat(model), loss.weights
    assert float(moved[None].norm()) > 0.3
    assert float(moved[0.25].norm()) == pytest.approx(0.25, rel=1e-4)
    torch.testing.assert_close(moved[0.25] / 0.25, moved[None] / moved[None].norm(), rtol=1e-4, atol=1e-6)
    assert torch.equal(moved[1e6], moved[None])
    for one, other in zip(seen[None], seen[0.25], strict=True):
        assert torch.equal(one, other)


def test_clipping_leaves_weight_decay_alone() -> None:
    parameter = nn.Parameter(torch.tensor([10.0, 0.0]))
    parameter.grad = torch.tensor([3.0, 4.0])
    descend(torch.optim.SGD([parameter], lr=0.1, weight_decay=0.5), clip_norm=1.0)
    torch.testing.assert_close(parameter.detach(), torch.tensor([10 - 0.1 * (0.6 + 5.0), -0.08]))


@pytest.mark.parametrize("name", SOLVERS)
def test_bf16_autocast_takes_each_gradient_at_the_weights_of_its_own_pass(name: str) -> None:
    """The step is the autocast gradient at the last weights seen, recomputed: no stale cast of w is used at w + e."""
    model = bn_net()
    before, loss = flat(model), cross_entropy(model, bf16=True)
    solver(name, rho=5.0, lpf_gamma=0.5).step(model, sgd(model), loss, k=0)
    twin = deepcopy(bn_net())
    nn.utils.vector_to_parameters(loss.weights[-1], twin.parameters())
    cross_entropy(twin, bf16=True)().backward()
    with torch.no_grad():
        nn.utils.vector_to_parameters(before, twin.parameters())
    sgd(twin).step()
    assert all(p.dtype == torch.float32 and p.grad.dtype == torch.float32 for p in model.parameters())
    assert torch.equal(flat(model), flat(twin))


@pytest.mark.parametrize("name", SOLVERS)
def test_loss_comes_back_without_a_graph(name: str) -> None:
    model = bn_net()
    wanted = cross_entropy(bn_net())().item()
    value = solver(name, lpf_gamma=0.0).step(model, sgd(model), cross_entropy(model), k=0)
    assert value.shape == () and not value.requires_grad and value.grad_fn is None
    assert float(value) == pytest.approx(wanted, rel=1e-6)


@pytest.mark.parametrize("bad", [-0.1, math.nan, math.inf])
@pytest.mark.parametrize(
    ("make", "name"),
    [
        (Sam, "rho"), (Asam, "rho"), (Asam, "eta"), (FSam, "rho"), (FSam, "sigma"), (FSam, "lambda_"), (Lpf, "gamma"),
        (Lpf, "growth"), (Sgd, "clip_norm"), (Sam, "clip_norm"), (Asam, "clip_norm"), (FSam, "clip_norm"),
        (Lpf, "clip_norm"),
    ],
)  # fmt: skip
def test_impossible_sizes_are_refused_by_name(make: Any, name: str, bad: float) -> None:
    needed: dict[Any, dict[str, Any]] = {Sgd: {}, Lpf: {"gamma": 0.1, "seed": 0, "steps": 5}}
    with pytest.raises(SettingsError, match=rf"`{name}` must be .*, got {bad}"):
        make(**{**needed.get(make, {"rho": 0.1}), name: bad})


def test_zero_and_one_are_refused_where_they_make_no_sense() -> None:
    with pytest.raises(SettingsError, match=r"`clip_norm` must be > 0, or none to switch clipping off, got 0"):
        Sgd(clip_norm=0.0)
    with pytest.raises(SettingsError, match=r"`lambda_` must be in \[0, 1\), got 1"):
        FSam(rho=0.1, lambda_=1.0)
    with pytest.raises(SettingsError, match=r"`draws` must be >= 1, got 0"):
        Lpf(gamma=0.1, seed=0, steps=5, draws=0)
    with pytest.raises(SettingsError, match=r"`growth` must be >= 1, got 0.5"):
        Lpf(gamma=0.1, seed=0, steps=5, growth=0.5)
    model = nn.Linear(1, 1)
    with pytest.raises(SettingsError, match="`rho` must be >= 0, got nan"):
        sam_step(model, sgd(model), lambda: model(torch.ones(1)).sum(), rho=math.nan)


@pytest.mark.parametrize(
    ("draws", "normed", "words"),
    [(6, True, ">= 2 samples for BatchNorm, got 6 draws for batches of 10"), (11, False, ">= 1 samples, got 11 draws")],
)
def test_draws_that_leave_too_few_samples_are_named(draws: int, normed: bool, words: str) -> None:
    model = bn_net() if normed else nn.Linear(2, 2)
    with pytest.raises(SettingsError, match=f"`lpf_draws` must leave each draw {words}.*raise `batch_size`"):
        check_batches(Batches(20, 10, seed=0), model, "validation set", draws=draws)
    check_batches(Batches(20, 10, seed=0), model, "validation set", draws=5 if normed else 10)


@pytest.mark.parametrize(
    ("name", "words"),
    [("sgd", ""), ("sam", r" or a smaller `rho` than 0\.3"), ("asam", r" or a smaller `rho` than 0\.3"),
     ("fsam", r" or a smaller `rho` than 0\.3"), ("lpf", r" or a smaller `lpf_gamma` than 0\.4")],
)  # fmt: skip
def test_remedy_names_the_settings_of_the_solver(name: str, words: str) -> None:
    settings = TuneSettings(solver=name, lr=0.2, rho=0.3, lpf_gamma=0.4)
    assert re.fullmatch(rf"Try a lower `lr` than 0\.2{words}\.", remedy(settings))
