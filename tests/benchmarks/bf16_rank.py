"""How well scores in bf16 keep the order of those in fp32, on real CIFAR-10N images.

    python -m tests.benchmarks.bf16_rank --wide FOLDER --out tests/benchmarks/results/bf16_rank.csv

The committed FVM model (ResNet-18 of width 8) and one of width 16 (scoring_speed.py tells how to get its folder) score
random training images with their noisy labels in fp32, with convolutions in bf16 between tensors in fp32
(`precision="bf16"`), and with all in bf16 that autocast makes so, which the app does not do; the Fisher is that of
validation images, in the same precision as the scores. The bar is a rank correlation
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
from tests.benchmarks.scoring_works import Case, cases, images, make_bench


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=2000)
    parser.add_argument("--validation", type=int, default=500)
    parser.add_argument("--wide", type=Path, help="folder of a tuned ResNet-18 of width 16")
    parser.add_argument("--out", type=Path)
    args = parser.parse_args()
    chosen = [case for case in cases(args.wide) if case.trained and case.classes == 10]
    table = pd.concat([compared(case, args.samples, args.validation) for case in chosen], ignore_index=True)
    print(table.T.to_string())
    if args.out:
        args.out.parent.mkdir(parents=True, exist_ok=True)
        table.to_csv(args.out, index=False)


def compared(case: Case, samples: int, validation: int) -> pd.DataFrame:
    """Return one row a precision for the model of this case."""
    bench = make_bench(case, validation=validation)
    x, given = images("train", samples, "worse_label")
    _, clean = images("train", samples, "clean_label")
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
    return pd.DataFrame(rows).assign(
        model=case.name, samples=len(x), validation=validation, bar="spearman of bf16 > 0.9999"
    )


if __name__ == "__main__":
    main()
