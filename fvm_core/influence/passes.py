"""The passes over the training set: each prepares once, then turns a batch into columns, for one or more methods."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import torch
from torch import Tensor

from fvm_core.errors import SettingsError
from fvm_core.influence.baselines import BASELINES, el2n_scores, loss_scores, margin_scores, probabilities
from fvm_core.influence.capture import evaluating
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.lissa import hessian_product, lissa
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.relabel import all_labels, shortlist
from fvm_core.influence.standard import standard_scores, validation_gradient
from fvm_core.influence.task import Task
from fvm_core.tuning.hessian import top_eigenvalue

Report = Callable[[float, str], None]
"""report(units done since the last call, message)."""


@dataclass(frozen=True)
class Columns:
    """One method on one batch: `score` (b,) own sign; `suggested` (b,) or None; `label_scores` (b, c) or None;
    `label_exact` (b, c) or None."""

    score: Tensor
    suggested: Tensor | None = None
    label_scores: Tensor | None = None
    label_exact: Tensor | None = None


class Pass(Protocol):
    """`name` of the pass, `methods` it fills, `notes` for the provenance."""

    name: str
    methods: tuple[str, ...]
    notes: list[str]

    def cost(self, task: Task) -> tuple[float, float]:
        """Return (units to prepare, units a row)."""
        ...

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        """Make what the rows need, or take it from `kept` (what an earlier call returned)."""
        ...

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        """Score samples x (b, ...) with labels y (b,)."""
        ...


@dataclass
class InfluencePass:
    """s = g^T (F + d)^-1 g (Eq. 21, 25), with all labels, a shortlist or none (Eq. 22)."""

    name: str = "influence"
    methods: tuple[str, ...] = ("influence",)
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        rows = {"none": 1.0, "shortlist": 1 + 0.4 * task.classes, "all": 0.3 + 0.7 * task.classes}
        return float(len(task.validation)), rows[task.settings.relabel]

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        example, _ = task.train.batch(task.rows[: min(5, len(task.rows))])
        self.engine = SquaredGradients(task.model, example)
        self.notes = list(self.engine.notes)
        if kept is None:
            seen = 0

            def told(done: int) -> None:
                nonlocal seen
                report(done - seen, "Fisher of the validation set")
                seen = done

            fisher = fisher_diagonal(task.model, task.validation_batches(), engine=self.engine, progress=told)
            kept = {"fisher": {name: value.cpu() for name, value in fisher.items()}}
        device = example.device
        fisher = {name: value.to(device) for name, value in kept["fisher"].items()}
        self.weights = inverse_fisher(fisher, damping=task.settings.damping)
        return kept

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        mode, classes = task.settings.relabel, task.classes
        if mode == "none":
            return {"influence": Columns(self.engine.scores(x, y, self.weights)[0])}
        if mode == "all":
            found = all_labels(self.engine, x, y, self.weights, classes=classes)
        else:
            found = shortlist(self.engine, x, y, self.weights, classes=classes, batch_size=task.settings.batch_size)
        return {"influence": Columns(found.given, found.suggested, found.scores, found.exact)}


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


@dataclass
class BaselinePass:
    """Loss, margin, EL2N and confident learning from one forward pass. Suggested label: the largest probability.

    `confident` keeps the probabilities until the end, when cleanlab sees all samples at once.
    """

    methods: tuple[str, ...] = BASELINES
    name: str = "baselines"
    notes: list[str] = field(default_factory=list)

    def cost(self, task: Task) -> tuple[float, float]:
        return 0.0, 0.3

    def prepare(self, task: Task, kept: dict[str, Any] | None, report: Report) -> dict[str, Any]:
        return {}

    def columns(self, task: Task, x: Tensor, y: Tensor) -> dict[str, Columns]:
        with evaluating(task.model), torch.no_grad():
            logits = task.model(x)
        suggested = logits[:, : task.classes].argmax(1)
        makers = {"loss": loss_scores, "margin": margin_scores, "el2n": el2n_scores, "confident": probabilities}
        out = {}
        for method in self.methods:
            scores = makers[method](logits)[:, : task.classes]
            given = scores.gather(1, y.unsqueeze(1)).squeeze(1)
            out[method] = Columns(given, suggested, scores, torch.ones_like(scores, dtype=torch.bool))
        return out


def passes_for(methods: tuple[str, ...]) -> list[Pass]:
    """Return the passes that together fill `methods`, each method in one of them."""
    found: list[Pass] = []
    baselines = tuple(method for method in methods if method in BASELINES)
    if baselines:
        found.append(BaselinePass(methods=baselines))
    if "influence" in methods:
        found.append(InfluencePass())
    if "standard" in methods:
        found.append(StandardPass())
    return found
