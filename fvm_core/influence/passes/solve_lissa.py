"""H^-1 v by LiSSA on mini-batches of a dataset, with a scale found from the Hessian where none is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.influence.capture import evaluating
from fvm_core.influence.lissa import hessian_product, lissa
from fvm_core.influence.passes.protocol import Report
from fvm_core.influence.task import Task
from fvm_core.tuning.hessian import top_eigenvalue

Fetch = Callable[[int], tuple[Tensor, Tensor]]
"""fetch(step) -> (x, y): mini-batch number `step`."""


@dataclass(frozen=True)
class Solved:
    """`values`: {parameter: H^-1 v} for each v; the scale they were found with, and a sentence on how."""

    values: list[dict[str, Tensor]]
    scale: float
    note: str


def solve_lissa(task: Task, fetch: Fetch, size: int, vectors: Sequence[Mapping[str, Tensor]], report: Report) -> Solved:
    """Return H^-1 v for each of `vectors`, H the Hessian of the loss on mini-batches `fetch(step)` of `size` samples.

    An automatic scale starts at twice the top eigenvalue on four mini-batches and is doubled, for all vectors anew,
    when the recursion grows for one of them.

    Raises:
        SettingsError: the recursion grows at the scale that was asked for.
    """
    settings, model = task.settings, task.model
    scale, found = settings.lissa_scale, ""
    if scale is None:
        batches = [fetch(step) for step in range(4)]
        with evaluating(model, parameter_grads=True):
            top = top_eigenvalue(model, batches, iterations=12, seed=settings.seed, tolerance=0.02).value
        scale = max(2.0 * top, 1.0)
        found = f", twice the top eigenvalue {top:.4g} or doubled from there"
    while True:
        try:
            values, change = _at(task, fetch, size, vectors, scale, report)
            break
        except SettingsError:
            if settings.lissa_scale is not None or scale > 1e9:
                raise
            scale *= 2
    note = (
        f"LiSSA: scale {scale:.4g}{found}; depth {settings.lissa_depth}, {settings.lissa_repeats} repeats, "
        f"mini-batches of {size}; damping {settings.lissa_damping:g} of the scale; the last step changed the estimate "
        f"by {change:.2%}."
    )
    return Solved(values, float(scale), note)


def _at(
    task: Task, fetch: Fetch, size: int, vectors: Sequence[Mapping[str, Tensor]], scale: float, report: Report
) -> tuple[list[dict[str, Tensor]], float]:
    """Return H^-1 v for each v at one scale, and the largest relative change of a last step."""
    settings, model = task.settings, task.model
    values, change = [], 0.0
    with evaluating(model, parameter_grads=True):
        names = [name for name, _ in model.named_parameters()]
        for number, v in enumerate(vectors):
            first, done = number * settings.lissa_depth * settings.lissa_repeats, 0

            def stepped(steps: int) -> None:
                nonlocal done
                units, done = 3.0 * size * (steps - done), steps
                report(units, "LiSSA")

            product = hessian_product(model, lambda step, first=first: fetch(first + step), list(model.parameters()))  # type: ignore[misc]
            solved = lissa(
                product, [v[name] for name in names], depth=settings.lissa_depth, scale=scale,
                damping=settings.lissa_damping, repeats=settings.lissa_repeats, progress=stepped,
            )  # fmt: skip
            values.append(dict(zip(names, solved.value, strict=True)))
            change = max(change, solved.change)
    return values, change
