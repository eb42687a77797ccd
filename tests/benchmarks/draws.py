"""ROC AUC and recall (Eq. 23) of image pairs against the number of draws of time step and noise in a sample's loss.

    python -m tests.benchmarks.draws MODEL --out draws.csv

MODEL: a tuned adapter of kind image in the workspace. `--training`, `--validation`: pairs of each class that are taken.
"""

from __future__ import annotations

import argparse
import csv
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from fvm_core.generation.detection import detection
from fvm_core.generation.lora_gradients import layout_of
from fvm_core.generation.pair_gradients import PairGradients
from fvm_core.generation.pair_scores import (
    datainf_directions,
    first_order,
    fisher_weights,
    pair_influence,
    second_order,
    tracin,
)
from fvm_core.generation.pairs import PairSet
from fvm_core.generation.score_job import open_tuned
from fvm_core.generation.store import lineage, read_pairs
from fvm_core.workspace import current_workspace


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--training", type=int, default=50)
    parser.add_argument("--validation", type=int, default=20)
    parser.add_argument("--draws", type=int, default=16, help="reported after 1, 2, 4, ... of them")
    parser.add_argument("--out", type=Path, required=True)
    args = parser.parse_args()
    workspace = current_workspace()
    chain = lineage(workspace, args.model)
    training = first_of(read_pairs(workspace, chain[0].training["name"]), args.training)
    validation = first_of(read_pairs(workspace, chain[0].validation["name"]), args.validation)
    task: Any = open_tuned(workspace, chain, training)
    layout = layout_of(task.model)
    rows: list[dict[str, Any]] = []
    for common in (False, True):
        drawn: list[list[Tensor]] = [[], []]
        for draw in range(args.draws):
            part = replace(task, settings=replace(task.settings, draws=1, seed=draw, common=common))
            for found, pairs in zip(drawn, (training, validation), strict=True):
                found.append(PairGradients(part.with_pairs(pairs), layout, batch_size=8, keep_bytes=0).all())
            count = draw + 1
            if count & (count - 1):
                continue
            rows += [
                {"model": args.model, "draws": count, "common": common, "method": name, **summary}
                for name, summary in scores(torch.stack(drawn[0]).mean(0), drawn[1], layout.slices, training,
                                            validation).items()
            ]  # fmt: skip
            print(
                rows[-1]["draws"], common, [(row["method"], round(row["auc_mean"], 1)) for row in rows[-8:]], flush=True
            )
    with args.out.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def first_of(pairs: PairSet, count: int) -> PairSet:
    """Return the first `count` pairs of each class."""
    seen: dict[str, list[int]] = {}
    for row, name in enumerate(pairs.classes or ()):
        seen.setdefault(name, []).append(row)
    return pairs.take(row for rows in seen.values() for row in rows[:count])


def scores(
    grads: Tensor, terms: list[Tensor], slices: dict[str, slice], training: PairSet, validation: PairSet
) -> dict[str, dict[str, float]]:
    """Return {method: AUC and recall in percent}. `first`: Eq. 20's first term alone; `square of the mean`: Eq. 20 with
    the mean gradient's outer product for H_val; `influence`: as the app has it; `size of`: without its sign."""
    val = torch.stack(terms).mean(0)
    weights, _ = fisher_weights(val, damping=1e-3)
    first = first_order(grads, val, weights)
    directions = datainf_directions(lambda: [grads], val, slices, damping=0.1)
    found = {
        "influence": pair_influence(grads, terms, weights, epsilon=0.01),
        "square of the mean": first + second_order(first, epsilon=0.01),
        "first": first,
        "size of first": first.abs(),
        "squares, no Fisher": torch.stack([tracin(grads, term).square() for term in terms]).mean(0),
        "size of tracin": tracin(grads, val).abs(),
        "tracin": tracin(grads, val),
        "datainf": tracin(grads, directions),
    }
    return {
        name: detection(matrix.numpy(), training.classes or (), validation.classes or ()).summary()
        for name, matrix in found.items()
    }


if __name__ == "__main__":
    main()
