"""How well scores with bf16 activations keep the order of those in fp32, on real CIFAR-10N images.

    python -m tests.benchmarks.bf16_rank --samples 1000 --out tests/benchmarks/results/bf16_rank.csv

The committed FVM model (ResNet-18 of width 8) scores random training images with their noisy labels in fp32, with the
operands of per-sample gradients in bf16 (`precision="bf16"`), and with whole passes in bf16 (autocast), which the app
does not do; the Fisher is that of validation images, in the same precision as the scores. The bar is a rank correlation
(Spearman) above 0.9999. A CPU without bf16 emulates it: the numbers are bf16's, the time is not.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import pandas as pd
import torch
from scipy.stats import spearmanr
from torch import Tensor

from fvm_core.influence.fisher import fisher_diagonal
from fvm_core.influence.flat import inverse_fisher
from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.per_sample import PRECISIONS, SquaredGradients
from tests.benchmarks.scoring_works import CASES, images, make_bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1000)
    parser.add_argument("--validation", type=int, default=500)
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    bench = make_bench(CASES[0], validation=args.validation)
    x, given = images("train", args.samples, "worse_label")
    _, clean = images("train", args.samples, "clean_label")
    found: dict[str, Tensor] = {}
    for kind in (*PRECISIONS, "autocast"):
        engine = SquaredGradients(bench.model, x[:5], precision="fp32" if kind == "autocast" else kind)
        with torch.autocast("cpu", torch.bfloat16, enabled=kind == "autocast"):
            held = zip(*(value.split(50) for value in bench.validation), strict=True)
            weights = inverse_fisher(fisher_diagonal(bench.model, held, engine=engine), damping=1e-8)
            parts = zip(x.split(50), given.split(50), strict=True)
            found[kind] = torch.cat([engine.scores(*part, weights)[0] for part in parts])
    wrong, whole = (given != clean).numpy(), found.pop("fp32")
    rows = [{"precision": "fp32", "auc": auc_ap(whole.numpy(), wrong)[0]}]
    for kind, half in found.items():
        apart = ((half - whole).abs() / whole).double()
        rows.append({
            "precision": kind, "auc": auc_ap(half.numpy(), wrong)[0],
            "spearman": float(spearmanr(whole, half).statistic),
            "median_relative_difference": float(apart.median()), "largest_relative_difference": float(apart.max()),
        })  # fmt: skip
    table = pd.DataFrame(rows).assign(
        model=bench.case.name, samples=len(x), validation=args.validation, bar="spearman of bf16 > 0.9999"
    )
    print(table.T.to_string())
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)


if __name__ == "__main__":
    main()
