"""GEX: the members are tuned one after the other, score all rows and are thrown away."""

from __future__ import annotations

import copy
import shutil
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from fvm_core.influence.gex import label_losses, squared_shift
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.passes.standard import signed_columns
from fvm_core.influence.task import Task
from fvm_core.jobs.nested import NestedContext
from fvm_core.jobs.state import read_state, write_state
from fvm_core.provenance import digest
from fvm_core.tuning.batches import MEMBERS, derived_seed
from fvm_core.tuning.member import tune_member
from fvm_core.tuning.settings import TuneSettings

BLOCK = 256
FORWARD = 0.3
"""Units of a forward pass of one sample."""


@dataclass
class GexPass:
    """Mean over members of (loss_m - max(loss_0, 0.05))^2, for every label. Suggested label: the smallest of all.

    `prepare` does all the work, forward passes over all rows included. Not the members are kept but the sum of their
    squared shifts, (n, c) float64, in the job's folder: 32 members of a ResNet-34 would be 2.7 GB to read again for
    every batch of rows. A killed job goes on inside the member that it had reached. Memory: one member, and twice the
    (n, c) numbers.
    """

    name: str = "gex"
    methods: tuple[str, ...] = ("gex",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        return FORWARD * len(task.rows) + task.settings.gex_members * _member_cost(task), 0.0

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        members = task.settings.gex_members
        path = task.context.path("gex", f"{task.plan[:16]}.pt")
        state = read_state(path)
        resumed = state is not None and kept is None
        if state is None:
            before = _losses(task, task.model, report, "Losses before the tuning")
            state = {"members": 0, "before": before, "sum": torch.zeros_like(before)}
            write_state(path, state)
        else:
            report(
                FORWARD * len(task.rows) + state["members"] * _member_cost(task), "Keeping the members that are done"
            )
        for number in range(state["members"], members):
            member = _tuned(task, number, report)
            after = _losses(task, member, report, f"Member {number + 1} of {members}, losses")
            state["sum"] += squared_shift(state["before"], after)
            state["members"] = number + 1
            write_state(path, state)
            shutil.rmtree(task.context.path("parts", _part(number)), ignore_errors=True)
        self.rows, self.scores = task.rows, state["sum"] / members
        self.notes = [_note(task), *(kept or {}).get("notes", [])]
        if resumed:
            self.notes.append("GEX was resumed: its seconds leave out what was done before the last start.")
        return {"notes": self.notes[1:]}

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        scores = self.scores[np.searchsorted(self.rows, task.rows)]
        return {"gex": signed_columns("gex", scores, task, y.cpu())}


def _note(task: Task) -> str:
    settings = task.settings
    return (
        f"GEX: {settings.gex_members} members, each {settings.gex_steps} steps of SGD on the validation set (rate "
        f"{settings.gex_lr:g}, cosine) from the scored weights; then BatchNorm's statistics are the average over one "
        "pass over the validation set in train mode."
    )


def _member_cost(task: Task) -> float:
    return task.settings.gex_steps * _step_cost(task) + FORWARD * (len(task.validation) + len(task.rows))


def _step_cost(task: Task) -> int:
    return min(TuneSettings().batch_size, len(task.validation))


def _part(number: int) -> str:
    return f"gex-member-{number:03d}"


def _tuned(task: Task, number: int, report: Report) -> nn.Module:
    """Return member `number` (from 0); its loop's state is in a folder of its own until its losses are kept."""
    settings = task.settings
    seed = derived_seed(settings.seed, number, purpose=MEMBERS)
    recipe = TuneSettings(solver="sgd", steps=settings.gex_steps, lr=settings.gex_lr, seed=seed)
    member = copy.deepcopy(task.model)
    seen: list[int] = []

    def told(done: int) -> None:
        message = f"Member {number + 1} of {settings.gex_members}, step {done} of {recipe.steps}"
        steps = done - (seen[-1] if seen else 0)
        seen.append(done)
        report(steps * _step_cost(task), message)

    part = NestedContext(task.context, name=_part(number), start=0, end=1, scale=1)
    try:
        tune_member(part, member, task.validation, recipe, identity=digest([task.plan, number]), told=told)
    finally:
        part.close()
    report(FORWARD * len(task.validation), f"Member {number + 1} of {settings.gex_members}, BatchNorm statistics")
    return member


def _losses(task: Task, model: nn.Module, report: Report, message: str) -> Tensor:
    """Return (n, c) float64 on the CPU: the losses of all rows for every label of the training set."""
    found = []
    for start in range(0, len(task.rows), BLOCK):
        x, _ = task.train.batch(task.rows[start : start + BLOCK])
        found.append(label_losses(model, x)[:, : task.classes].cpu())
        report(FORWARD * len(x), message)
    return torch.cat(found)
