"""F-SAM steps by hand, its first step, and the average that must outlive a stop."""

from __future__ import annotations

from copy import deepcopy

import pytest
import torch
from solver_cases import LR, Point, bn_net, cross_entropy, flat, quadratic, sgd, solver

from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.tuning.fsam import FSam
from fvm_core.tuning.sam import Sam

DIAGONAL = torch.diag(torch.tensor([1.0, 4.0], dtype=torch.float64))


def test_two_steps_on_a_quadratic_in_numbers() -> None:
    """First g = (3, 4), e = (0.3, 0.4), gradient (3.3, 5.6); then g = (2.67, 1.76) and d = g - (3, 4)."""
    point = Point(weight=[3.0, 1.0])
    loss, here, optimizer = quadratic(point, DIAGONAL), FSam(rho=0.5, sigma=1.0, lambda_=0.9), sgd(point)
    assert float(here.step(point, optimizer, loss, k=0)) == pytest.approx(0.5 * (9 + 4))
    torch.testing.assert_close(flat(point), torch.tensor([2.67, 0.44], dtype=torch.float64))
    torch.testing.assert_close(here.average, [torch.tensor([3.0, 4.0], dtype=torch.float64)])
    here.step(point, optimizer, loss, k=1)
    length = (0.33**2 + 2.24**2) ** 0.5
    ex, ey = -0.5 * 0.33 / length, -0.5 * 2.24 / length
    wanted = [2.67 - LR * (2.67 + ex), 0.44 - LR * 4 * (0.44 + ey)]
    torch.testing.assert_close(flat(point), torch.tensor(wanted, dtype=torch.float64))
    torch.testing.assert_close(here.average, [torch.tensor([2.967, 3.776], dtype=torch.float64)])


def test_many_steps_equal_the_formula() -> None:
    a = torch.tensor([[3.0, 1.0, 0.2], [1.0, 2.0, 0.5], [0.2, 0.5, 1.0]], dtype=torch.float64)
    point, w = Point(weight=[0.3, -0.7], bias=[1.1]), torch.tensor([0.3, -0.7, 1.1], dtype=torch.float64)
    here, optimizer, loss = FSam(rho=0.2, sigma=0.7, lambda_=0.6), sgd(point, momentum=0.9), quadratic(point, a)
    m, velocity = torch.zeros(3, dtype=torch.float64), torch.zeros(3, dtype=torch.float64)
    for k in range(5):
        here.step(point, optimizer, loss, k=k)
        g = a @ w
        d = g - 0.7 * m
        m = g if k == 0 else 0.6 * m + 0.4 * g
        velocity = 0.9 * velocity + a @ (w + 0.2 * d / d.norm())
        w = w - LR * velocity
        torch.testing.assert_close(flat(point), w, rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize(("sigma", "steps"), [(1.0, 1), (0.0, 4)])
def test_the_first_step_and_a_sigma_of_zero_are_sam(sigma: float, steps: int) -> None:
    ends = []
    for here in (FSam(rho=0.1, sigma=sigma), Sam(rho=0.1)):
        model = bn_net()
        optimizer, loss = sgd(model, momentum=0.9), cross_entropy(model)
        for k in range(steps):
            here.step(model, optimizer, loss, k=k)
        ends.append(model.state_dict())
    assert all(torch.equal(value, ends[1][key]) for key, value in ends[0].items())


def test_the_average_survives_a_state_file_and_matters() -> None:
    model, here = bn_net(), FSam(rho=0.5)
    assert here.state_dict() == {"average": None}
    optimizer = sgd(model, momentum=0.9)
    for k in range(2):
        here.step(model, optimizer, cross_entropy(model), k=k)
    context = MemoryContext()
    context.save_state({"solver": here.state_dict()})
    ends = []
    resumed = FSam(rho=0.5)
    resumed.load_state_dict(context.load_state()["solver"])
    for going in (resumed, here, FSam(rho=0.5)):
        other = deepcopy(model)
        again = sgd(other, momentum=0.9)
        again.load_state_dict(deepcopy(optimizer.state_dict()))
        for k in range(2, 5):
            going.step(other, again, cross_entropy(other), k=k)
        ends.append(flat(other))
    assert torch.equal(ends[0], ends[1])
    assert not torch.equal(ends[0], ends[2])


def test_loading_copies_what_it_was_given() -> None:
    kept = [torch.ones(2)]
    here = FSam(rho=0.1)
    here.load_state_dict({"average": kept})
    here.average[0] += 1
    assert torch.equal(kept[0], torch.ones(2))
    here.load_state_dict({"average": None})
    assert here.average is None


def test_a_parameter_without_a_gradient_stays_and_is_averaged_as_zero() -> None:
    point = Point(weight=[3.0, 1.0], unused=[5.0])
    loss = quadratic(point, DIAGONAL)
    loss.loss = lambda rows: 0.5 * point.weight @ DIAGONAL @ point.weight
    here = solver("fsam", rho=0.5)
    for k in range(3):
        here.step(point, sgd(point), loss, k=k)
    assert point.unused.item() == 5.0 and float(here.average[1]) == 0.0
    assert all(float(seen[2]) == 5.0 for seen in loss.weights)
