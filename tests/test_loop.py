"""A stopped, broken or diverged loop."""

from __future__ import annotations

import random

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from fvm_core.errors import JobError, SettingsError
from fvm_core.jobs.context import JobStopped
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.tuning.batches import Batches, derived_seed
from fvm_core.tuning.loop import Loop, run_loop
from fvm_core.tuning.make_solver import make_solver
from fvm_core.tuning.schedule import cosine
from fvm_core.tuning.settings import SOLVERS, TuneSettings

STEPS = 23


class Loss:
    """The mean loss over rows of a batch, with the dropout of step `k`."""

    def __init__(self, model: nn.Module, x: torch.Tensor, y: torch.Tensor, k: int) -> None:
        self.model, self.x, self.y, self.k, self.size = model, x, y, k, len(y)

    def __call__(self, rows: slice | None = None) -> torch.Tensor:
        torch.manual_seed(derived_seed(0, self.k))
        rows = slice(None) if rows is None else rows
        return F.cross_entropy(self.model(self.x[rows]), self.y[rows])


def make_loop(
    *, solver: str = "sam", identity: str = "same", break_at: int = -1, nan_at: int = -1, log: list[int] | None = None
) -> Loop:
    """A solver with momentum on a net with BatchNorm and dropout: everything that a resume has to bring back."""
    torch.manual_seed(0)
    x, y = torch.randn(40, 6), torch.randint(0, 3, (40,))
    model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Dropout(0.3), nn.Linear(8, 3))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9, weight_decay=1e-3)
    batches = Batches(40, 16, seed=0)
    stepper = make_solver(TuneSettings(solver=solver, rho=0.05, steps=STEPS, lpf_gamma=0.1, lpf_draws=3, lpf_growth=4))

    def step(k: int) -> float:
        if k == break_at:
            raise RuntimeError("power cut")
        rows = batches.at(k)
        value = stepper.step(model, optimizer, Loss(model, x[rows], y[rows], k), k=k).item()
        return float("nan") if k == nan_at else value

    def after(done: int, loss: float | None) -> None:
        if log is not None:
            log.append(done)

    return Loop(
        model=model,
        optimizer=optimizer,
        steps=STEPS,
        step=step,
        lr=lambda k: cosine(k, lr=0.1, steps=STEPS),
        after=after,
        save_every=5,
        identity=identity,
        hint="Try a lower `lr` than 0.1.",
        solver=stepper,
    )


def finished_state(solver: str = "sam") -> dict[str, torch.Tensor]:
    loop = make_loop(solver=solver)
    run_loop(MemoryContext(), loop)
    return loop.model.state_dict()


def assert_same(state: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> None:
    assert all(torch.equal(value, other[key]) for key, value in state.items())


@pytest.mark.parametrize("solver", SOLVERS)
@pytest.mark.parametrize("broken", random.Random(7).sample(range(STEPS), 6))
def test_a_run_broken_anywhere_ends_bitwise_the_same(broken: int, solver: str) -> None:
    context = MemoryContext()
    with pytest.raises(RuntimeError, match="power cut"):
        run_loop(context, make_loop(solver=solver, break_at=broken))
    torch.rand(3)
    resumed = make_loop(solver=solver)
    with torch.no_grad():
        for parameter in resumed.model.parameters():
            parameter.zero_()
    if context.state is None:
        resumed = make_loop(solver=solver)
    run_loop(context, resumed)
    assert_same(resumed.model.state_dict(), finished_state(solver))


def test_the_average_of_fsam_is_in_the_state_and_needed() -> None:
    context = MemoryContext(stop_at=9)
    with pytest.raises(JobStopped):
        run_loop(context, make_loop(solver="fsam"))
    state = context.load_state()
    assert [tensor.shape for tensor in state["solver"]["average"]] == [p.shape for p in make_loop().model.parameters()]
    context.save_state({key: value for key, value in state.items() if key != "solver"})
    context.stop_at = None
    forgetful = make_loop(solver="fsam")
    run_loop(context, forgetful)
    wanted = finished_state("fsam")
    assert not torch.equal(forgetful.model.state_dict()["0.weight"], wanted["0.weight"])


def test_a_state_from_before_solvers_were_kept_is_resumed() -> None:
    context = MemoryContext(stop_at=9)
    with pytest.raises(JobStopped):
        run_loop(context, make_loop())
    context.save_state({key: value for key, value in context.load_state().items() if key != "solver"})
    context.stop_at = None
    resumed = make_loop()
    run_loop(context, resumed)
    assert_same(resumed.model.state_dict(), finished_state())


def test_a_stop_keeps_the_very_step_and_resumes_from_it() -> None:
    context, log = MemoryContext(stop_at=9), []
    with pytest.raises(JobStopped):
        run_loop(context, make_loop(log=log))
    assert context.load_state()["step"] == 8 and log == list(range(9))
    context.stop_at = None
    resumed = make_loop(log=log)
    run_loop(context, resumed)
    assert log == list(range(STEPS + 1))
    assert_same(resumed.model.state_dict(), finished_state())


def test_a_finished_run_is_not_run_again() -> None:
    context, log = MemoryContext(), []
    run_loop(context, make_loop())
    again = make_loop(break_at=STEPS - 1, log=log)
    run_loop(context, again)
    assert log == []
    assert_same(again.model.state_dict(), finished_state())


def test_the_state_of_other_settings_is_refused() -> None:
    context = MemoryContext(stop_at=3)
    with pytest.raises(JobStopped):
        run_loop(context, make_loop())
    with pytest.raises(JobError, match=r"other data or settings.*Start a new job"):
        run_loop(context, make_loop(identity="other"))


def test_a_diverged_loss_names_the_step_and_the_remedy() -> None:
    with pytest.raises(SettingsError, match=r"loss became nan in step 4 of 23.*Try a lower `lr` than 0.1"):
        run_loop(MemoryContext(), make_loop(nan_at=3))


def test_a_resume_uses_the_threads_it_began_with() -> None:
    context, threads = MemoryContext(stop_at=3), torch.get_num_threads()
    with pytest.raises(JobStopped):
        run_loop(context, make_loop())
    try:
        torch.set_num_threads(threads + 1)
        context.stop_at = None
        run_loop(context, make_loop())
        assert torch.get_num_threads() == threads
    finally:
        torch.set_num_threads(threads)
