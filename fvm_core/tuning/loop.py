"""A loop of training steps that can be stopped, killed and resumed without a trace in the weights."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from fvm_core.errors import JobError, SettingsError
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.tuning.solver import Solver


@dataclass(frozen=True, kw_only=True)
class Loop:
    """What is run, and how it is kept.

    `step(k)` does training step k (from 0) and returns the batch's loss; it must be a pure function of k, the model,
    the optimizer and the `solver`, if there is one. `lr(k)` is its learning rate. `after(done, loss)` runs once `done`
    steps are behind (first with done = 0 and no loss, before any step): it measures and writes snapshots, and changes
    nothing. `identity` names data and settings: a state kept under another one is refused. `hint` ends the error about
    a diverged loss.
    """

    model: nn.Module
    optimizer: torch.optim.Optimizer
    steps: int
    step: Callable[[int], float]
    lr: Callable[[int], float]
    after: Callable[[int, float | None], None]
    save_every: int
    identity: str
    hint: str
    solver: Solver | None = None


def run_loop(context: JobContext, loop: Loop) -> None:
    """Run `loop` to its end, from the kept state if there is one.

    The state (model with buffers, optimizer, solver, step) is kept every `save_every` steps and on a stop. Resumed on
    the same machine with the same number of threads, the weights end bitwise equal to those of an uninterrupted run.

    Raises:
        JobStopped: the person asked to stop; the state was kept before.
        JobError: the kept state belongs to other data or settings.
        SettingsError: the loss became NaN or infinite.
    """
    start = _restore(context, loop)
    if start == 0:
        loop.after(0, None)
    for done in range(start, loop.steps):
        if context.checkpoint():
            _keep(context, loop, done)
            raise JobStopped
        for group in loop.optimizer.param_groups:
            group["lr"] = loop.lr(done)
        loss = loop.step(done)
        if not math.isfinite(loss):
            raise SettingsError(
                f"the loss became {loss} in step {done + 1} of {loop.steps}: training diverged. {loop.hint}"
            )
        loop.after(done + 1, loss)
        if (done + 1) % loop.save_every == 0 or done + 1 == loop.steps:
            _keep(context, loop, done + 1)


def _keep(context: JobContext, loop: Loop, done: int) -> None:
    context.save_state(
        {
            "identity": loop.identity,
            "step": done,
            "threads": torch.get_num_threads(),
            "model": loop.model.state_dict(),
            "optimizer": loop.optimizer.state_dict(),
            "solver": loop.solver.state_dict() if loop.solver is not None else {},
        }
    )


def _restore(context: JobContext, loop: Loop) -> int:
    state: dict[str, Any] | None = context.load_state()
    if state is None:
        return 0
    if state.get("identity") != loop.identity:
        raise JobError(
            "the kept state of this job belongs to other data or settings (a dataset changed on disk?). "
            "Start a new job instead of resuming this one."
        )
    if torch.get_num_threads() != state["threads"]:
        torch.set_num_threads(state["threads"])
    loop.model.load_state_dict(state["model"])
    loop.optimizer.load_state_dict(state["optimizer"])
    if loop.solver is not None and state.get("solver"):
        loop.solver.load_state_dict(state["solver"])
    return int(state["step"])
