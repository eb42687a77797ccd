"""Does the metric of the gradients help to find wrong labels at the flat minimum? Scores r' M^a r for powers a.

    python -m tests.benchmarks.metric_power ../shared/data/cifar10n [--model M --dataset D --validation V] --out F.csv

M = J (F + d)^-1 J' (c x c) is the metric that a sample's gradients see, J the Jacobian of its logits. With r = p - e_y
(p the softmax) a = 1 is the paper's s (Eq. 21) and a = 0 the squared EL2N; with r = q - e_y (q the label error
posterior) a = 1 is `error_influence`; `typical metric`: a = 1 with the mean of M over the samples, the app's
`typical_influence` (which takes 256 training images); `trace 1`: a = 1 with M divided by its trace, which takes the
sample's size away and leaves the direction; `own bias`: Eq. 21 on one parameter, the head's bias of the given class,
(q_y - 1)^2 / (F + d) there, of which the posterior's ranking is the case F = 1. Loss, logit margin and posterior stand
beside them. Ranked on CIFAR-10N's three label columns, one half of the samples to choose a power, the other to confirm
it. The transition matrix behind q is estimated from the same samples and their given labels.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import torch
from torch import Tensor

from fvm_core.influence.fisher_cache import cached_fisher
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.layer_gradients import visit_gradients
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.noise import estimate_transition, posterior
from fvm_core.influence.per_sample import SquaredGradients
from fvm_core.influence.task import Task, open_task
from fvm_core.influence.typical_metric import quadratic
from fvm_core.jobs.memory_context import MemoryContext
from fvm_core.workspace import current_workspace

LABELS = {"worse": "worse_label", "aggre": "aggre_label", "random1": "random_label1"}
POWERS = (0.0, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0)
BATCH = 32


def metric(engine: SquaredGradients, x: Tensor, weights: dict[str, Tensor], classes: int) -> tuple[Tensor, Tensor]:
    """Return (b, c, c) float64 M of each sample, and the logits (b, c)."""
    jacobians: list[dict[str, list[Tensor]]] = []
    logits = torch.zeros(0)
    for label in range(classes):
        rows: dict[str, list[Tensor]] = {}

        def pull(out: Tensor, label: int = label) -> Tensor:
            return torch.nn.functional.one_hot(torch.full((len(out),), label), out.shape[1]).to(out.dtype)

        def visit(layer: str, part: slice, grads: object, rows: dict[str, list[Tensor]] = rows) -> None:
            for name, value in grads.items():  # type: ignore[attr-defined]
                rows.setdefault(name, []).append(value.reshape(len(value), -1).clone())

        logits = visit_gradients(engine, x, pull, visit)
        jacobians.append(rows)
    m = torch.zeros(len(x), classes, classes, dtype=torch.float64)
    for name, weight in weights.items():
        j = torch.stack([torch.cat(rows[name]) for rows in jacobians], 1)
        m += torch.bmm(j * weight.reshape(-1).to(j.dtype), j.transpose(1, 2)).double()
    return m, logits


def collect(task: Task, weights: dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Return M (n, c, c) and the logits (n, c) of the task's rows."""
    engine = SquaredGradients(task.model, task.train.batch(task.rows[:5])[0])
    found = []
    for start in range(0, len(task.rows), BATCH):
        x, _ = task.train.batch(task.rows[start : start + BATCH])
        found.append(metric(engine, x, weights, task.classes))
    return torch.cat([m for m, _ in found]), torch.cat([logits for _, logits in found])


def scores(m: Tensor, logits: Tensor, y: Tensor, bias: Tensor) -> dict[str, np.ndarray]:
    """Return {name: (n,) suspicion} of every score for the labels y; `bias` (c,) is 1 / (F + d) of the head's."""
    c = logits.shape[1]
    center = torch.eye(c, dtype=torch.float64) - 1.0 / c
    values, vectors = torch.linalg.eigh(center @ m @ center)
    values = values.clamp_min(1e-12)
    trace = values.sum(1)
    p = logits.double().softmax(1)
    q = posterior(p, y, estimate_transition(p, y).matrix)
    hot = torch.nn.functional.one_hot(y, c).double()
    best = logits.double().masked_fill(hot.bool(), -torch.inf).amax(1)
    out = {
        "loss": -p.gather(1, y.unsqueeze(1)).squeeze(1).log(),
        "logit margin": best - logits.double().gather(1, y.unsqueeze(1)).squeeze(1),
        "posterior": -q.gather(1, y.unsqueeze(1)).squeeze(1).clamp_min(1e-300).log(),
    }
    for name, r in (("softmax", p - hot), ("posterior", q - hot)):
        turned = torch.einsum("nka,nk->na", vectors, r).square()
        for power in POWERS:
            out[f"{name} residual, power {power:g}"] = (turned * values.pow(power)).sum(1)
        out[f"{name} residual, typical metric"] = quadratic(r, m.mean(0))
        out[f"{name} residual, trace 1"] = (turned * values).sum(1) / trace
        out[f"{name} residual, own bias"] = r.gather(1, y.unsqueeze(1)).squeeze(1).square() * bias.double()[y]
    return {name: value.numpy() for name, value in out.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--model", default="cifar10n-worse-fvm")
    parser.add_argument("--dataset", default="cifar10n-worse")
    parser.add_argument("--validation", default="cifar10-test")
    parser.add_argument("--samples", type=int, default=6000)
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    workspace = current_workspace()
    asked = {"model": args.model, "dataset": args.dataset, "validation": args.validation, "methods": ["influence"]}
    task = open_task(MemoryContext(), {**asked, "settings": {"limit": args.samples}}, workspace)
    weights = inverse_fisher(cached_fisher(task, workspace), damping=1e-8)
    m, logits = collect(task, dict(weights))
    bias = next(value for value in reversed(list(weights.values())) if value.shape == (task.classes,))
    rows = task.dataset.rows[task.train.usable[task.rows]]
    table = pq.read_table(args.data / "train.parquet", columns=["clean_label", *LABELS.values()]).to_pandas().iloc[rows]
    clean = table["clean_label"].to_numpy()
    choose = np.isin(np.arange(len(clean)), np.random.default_rng(1).permutation(len(clean))[: len(clean) // 2])
    out = []
    for labels, column in LABELS.items():
        y = table[column].to_numpy(np.int64, copy=True)
        for name, value in scores(m, logits, torch.from_numpy(y), bias).items():
            for part, mask in (("choose", choose), ("confirm", ~choose)):
                auc, ap = auc_ap(value[mask], (y != clean)[mask])
                out.append({"labels": labels, "half": part, "score": name, "auc": 100 * auc, "ap": 100 * ap})
    frame = pd.DataFrame(out).round(2)
    args.out.parent.mkdir(parents=True, exist_ok=True)
    frame.to_csv(args.out, index=False)
    print(frame.pivot(index="score", columns=["half", "labels"], values=["auc", "ap"]).to_string())


if __name__ == "__main__":
    main()
