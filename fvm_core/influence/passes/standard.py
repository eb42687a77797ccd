"""The standard influence function by LiSSA."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.influence.capture import evaluating
from fvm_core.influence.lissa import hessian_product, lissa
from fvm_core.influence.passes.protocol import Columns, Report
from fvm_core.influence.standard import standard_scores, validation_gradient
from fvm_core.influence.task import Task
from fvm_core.tuning.hessian import top_eigenvalue


@dataclass
class StandardPass:
    """g_val^T H^-1 g_z by LiSSA (Eq. 6). Suggested label: the largest score of all labels."""

    name: str = "standard"
    methods: tuple[str, ...] = ("standard",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        settings = task.settings
        products = settings.lissa_depth * settings.lissa_repeats * min(settings.batch_size, len(task.train))
        return len(task.validation) + 3.0 * products, 0.6

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        if kept is None:
            kept = inverse_gradient(task, report)
        device = next(task.model.parameters()).device
        self.notes = [str(kept["note"])]
        self.direction = {name: value.to(device) for name, value in kept["direction"].items()}
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        scores, _ = standard_scores(task.model, x, self.direction)
        scores = scores[:, : task.classes]
        given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
        return {"standard": Columns(given, scores.argmax(1), scores, torch.ones_like(scores, dtype=torch.bool))}


def inverse_gradient(task: Task, report: Report) -> dict[str, Any]:
    """Return {"direction": {parameter: H^-1 g_val}, "scale", "note"}, H the Hessian of the training loss.

    Raises:
        SettingsError: LiSSA grows at the scale that was asked for.
    """
    settings, model = task.settings, task.model
    seen = 0

    def told(done: int) -> None:
        nonlocal seen
        report(done - seen, "Gradient of the validation loss")
        seen = done

    gradient = validation_gradient(model, task.validation_batches(), progress=told)
    size, scale, found = min(settings.batch_size, len(task.train)), settings.lissa_scale, ""
    if scale is None:
        batches = [task.training_batch(step) for step in range(4)]
        with evaluating(model, parameter_grads=True):
            top = top_eigenvalue(model, batches, iterations=12, seed=settings.seed, tolerance=0.02).value
        scale = max(2.0 * top, 1.0)
        found = f", twice the top eigenvalue {top:.4g} or doubled from there"
    while True:
        done = 0

        def stepped(steps: int) -> None:
            nonlocal done
            report(3.0 * size * (steps - done), "LiSSA")
            done = steps

        try:
            with evaluating(model, parameter_grads=True):
                product = hessian_product(model, task.training_batch, list(model.parameters()))
                solved = lissa(
                    product, list(gradient.values()), depth=settings.lissa_depth, scale=scale,
                    damping=settings.lissa_damping, repeats=settings.lissa_repeats, progress=stepped,
                )  # fmt: skip
            break
        except SettingsError:
            if settings.lissa_scale is not None or scale > 1e9:
                raise
            scale *= 2
    note = (
        f"LiSSA: scale {scale:.4g}{found}; depth {settings.lissa_depth}, {settings.lissa_repeats} repeats, "
        f"mini-batches of {size}; damping {settings.lissa_damping:g} of the scale; the last step changed the estimate "
        f"by {solved.change:.2%}."
    )
    direction = {name: value.cpu() for name, value in zip(gradient, solved.value, strict=True)}
    return {"direction": direction, "scale": float(scale), "note": note}
