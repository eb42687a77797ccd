"""Figure 1, measured: how far first- and second-order estimates of the validation risk lie from its true change."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from fvm_core.experiments.sources import TRAINING
from fvm_core.files import atomic_write
from fvm_core.influence.capture import evaluating
from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.lissa import hessian_product
from fvm_core.influence.task import Task, open_task
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.tuning.batches import fixed_sample
from fvm_core.tuning.sam import restored
from fvm_core.workspace import Workspace

Vector = dict[str, Tensor]
Batch = tuple[Tensor, Tensor]
PROBE_BATCH = 128


@dataclass(frozen=True)
class Path:
    """The risk R along one unit direction u from the model's weights: `slope` g . u, `curvature` u . H u, and for each
    of the lengths t the `true` change R(w + t u) - R(w), in nats."""

    slope: float
    curvature: float
    true: tuple[float, ...]

    def first(self, length: float) -> float:
        """Return the first-order estimate, t g . u (Eq. 4)."""
        return length * self.slope

    def second(self, length: float) -> float:
        """Return the second-order estimate, t g . u + t^2 u . H u / 2 (Eq. 19, with its gradient)."""
        return length * self.slope + 0.5 * length**2 * self.curvature


def risk(model: nn.Module, batches: Sequence[Batch]) -> float:
    """Return the mean cross-entropy in nats over all samples, in eval mode."""
    total, count = 0.0, 0
    with evaluating(model), torch.no_grad():
        for x, y in batches:
            total += float(F.cross_entropy(model(x), y, reduction="sum"))
            count += len(y)
    return total / count


def newton_direction(model: nn.Module, x: Tensor, y: Tensor, inverse: Mapping[str, Tensor]) -> Vector:
    """Return u = -P g_z / |P g_z|, P the diagonal `inverse` Hessian: where the weights go when the sample x (1, ...)
    with label y (1,) gets more weight (Eq. 18). Removing it from the training is the way back, -u."""
    parameters = dict(model.named_parameters())
    with evaluating(model, parameter_grads=True), torch.enable_grad():
        loss = F.cross_entropy(model(x), y)
        grads = torch.autograd.grad(loss, list(parameters.values()), allow_unused=True, materialize_grads=True)
    step = {name: -inverse[name] * grad for name, grad in zip(parameters, grads, strict=True)}
    length = torch.stack([part.double().square().sum() for part in step.values()]).sum().sqrt()
    return {name: (part / length.clamp_min(1e-30)).to(part.dtype) for name, part in step.items()}


def mean_entry(fisher: Mapping[str, Tensor]) -> float:
    """Return the mean over all parameters of a diagonal {parameter: tensor}."""
    return float(sum(value.sum() for value in fisher.values())) / sum(value.numel() for value in fisher.values())


def along(
    model: nn.Module, batches: Sequence[Batch], direction: Mapping[str, Tensor], lengths: Sequence[float]
) -> Path:
    """Return the risk over `batches` along `direction` {parameter: tensor}; the weights come back bit for bit.

    Cost: one Hessian-vector product and one forward pass a length, over all batches.
    """
    parameters = dict(model.named_parameters())
    u = [direction[name] for name in parameters]
    count = sum(len(y) for _, y in batches)
    slope = curvature = 0.0
    with evaluating(model, parameter_grads=True):
        for number, (x, y) in enumerate(batches):
            with torch.enable_grad():
                grads = torch.autograd.grad(
                    F.cross_entropy(model(x), y), list(parameters.values()), allow_unused=True, materialize_grads=True
                )
            image = hessian_product(model, batches.__getitem__, list(parameters.values()))(u, number)
            share = len(y) / count
            slope += share * _dot(grads, u)
            curvature += share * _dot(image, u)
    start = risk(model, batches)
    true = []
    for length in lengths:
        with restored(parameters.values()), torch.no_grad():
            for parameter, part in zip(parameters.values(), u, strict=True):
                parameter.add_(length * part)
            true.append(risk(model, batches) - start)
    return Path(slope, curvature, tuple(true))


def _dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    return float(torch.stack([(x.double() * y.double()).sum() for x, y in zip(a, b, strict=True)]).sum())


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Write result.parquet (model, sample, length, true, first, second) for each of `args["models"]` {role: name}.

    `args["samples"]` training samples, the same for every model, move it by `args["lengths"]` along their Newton steps
    under the diagonal Fisher of the validation set plus `args["damping"]` times its mean entry: with the score's own
    tiny damping the step runs along weights that move nothing. The risk is that of `args["probe"]` validation samples.

    Raises:
        FVMError: see `open_task` and `inverse_fisher`.
        JobStopped: the person asked to stop; models that are done are kept.
    """
    state = context.load_state() or {"rows": []}
    rows: list[dict[str, Any]] = list(state["rows"])
    models, samples = dict(args["models"]), int(args["samples"])
    settings = {"limit": samples, "seed": int(args["seed"]), "relabel": "none"}
    for number, (role, name) in enumerate(models.items()):
        if any(row["model"] == role for row in rows):
            continue
        task = open_task(context, {**args, "model": name, "methods": ["influence"], "settings": settings}, workspace)

        def told(done: int, role: str = role, number: int = number, total: int = len(task.rows)) -> None:
            context.progress(number * total + done, len(models) * total, f"{role}, sample {done} of {total}")
            if context.checkpoint():
                raise JobStopped

        rows += _one(
            task, role, [float(length) for length in args["lengths"]], int(args["probe"]), float(args["damping"]), told
        )
        context.save_state({"rows": rows})
    with atomic_write(context.path("result.parquet")) as file:
        pq.write_table(pa.Table.from_pylist(rows), file)
    return {"rows": len(rows)}


def _one(task: Task, role: str, lengths: list[float], probe: int, damping: float, told: Any) -> list[dict[str, Any]]:
    told(0)
    fisher = fisher_diagonal(task.model, task.validation_batches())
    inverse = inverse_fisher(fisher, damping=damping * mean_entry(fisher))
    chosen = fixed_sample(len(task.validation), probe, seed=TRAINING)
    batches = [
        task.validation.batch(chosen[start : start + PROBE_BATCH]) for start in range(0, len(chosen), PROBE_BATCH)
    ]
    rows = []
    for done, row in enumerate(task.rows):
        x, y = task.train.batch(np.array([row]))
        path = along(task.model, batches, newton_direction(task.model, x, y, inverse), lengths)
        sample = str(task.dataset.ids[task.train.usable[row]])
        rows += [
            {
                "model": role, "sample": sample, "length": length, "true": true, "first": path.first(length),
                "second": path.second(length),
            }
            for length, true in zip(lengths, path.true, strict=True)
        ]  # fmt: skip
        told(done + 1)
    return rows
