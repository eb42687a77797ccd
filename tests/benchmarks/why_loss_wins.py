"""Why the plain loss ranks better than s: from score files with all labels (`score --relabel all`), no model needed.

    python -m tests.benchmarks.why_loss_wins RUN    (a run of the workspace with `influence` and `loss`)

Prints, in percent, how well both find (a) the human labels' errors and (b) as many errors planted uniformly at random
on the same images; and the median of both for right and wrong labels in bands of the model's confidence.
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from fvm_core.influence.metrics import auc_ap
from fvm_core.influence.store import read_scores
from fvm_core.workspace import current_workspace

BANDS = (0.0, 0.5, 0.8, 0.95, 1.0)


def planted(clean: np.ndarray, *, classes: int, share: float, seed: int) -> np.ndarray:
    """Return labels of which `share` are wrong, each wrong class as likely as the other."""
    random = np.random.default_rng(seed)
    shift = random.integers(1, classes, len(clean)) * (random.random(len(clean)) < share)
    return (clean + shift) % classes


def main(run: str) -> None:
    folder = current_workspace().scores / run
    frame = read_scores(folder / "loss.parquet").frame
    loss = np.stack(frame["label_scores"].tolist()).astype(np.float64)
    s = np.stack(read_scores(folder / "influence.parquet").frame["label_scores"].tolist()).astype(np.float64)
    clean, given = frame["clean_label"].to_numpy(), frame["label"].to_numpy()
    row, wrong = np.arange(len(clean)), clean != given
    uniform = planted(clean, classes=loss.shape[1], share=float(wrong.mean()), seed=0)
    found = [
        {
            "labels": name,
            "score": method,
            **dict(zip(("auc", "ap"), (100 * v for v in auc_ap(table[row, y], y != clean)), strict=True)),
        }
        for name, y in (("human", given), ("uniform", uniform))
        for method, table in (("influence", s), ("loss", loss))
    ]
    print(pd.DataFrame(found).round(2).to_string(index=False))
    confidence = np.exp(-loss.min(1))
    band = pd.cut(confidence, BANDS, labels=[f"to {high:.0%}" for high in BANDS[1:]])
    table = pd.DataFrame({"confidence": band, "wrong": wrong, "s": s[row, given], "loss": loss[row, given]})
    table = table.groupby(["confidence", "wrong"], observed=True).agg(["median", "size"]).drop(columns=("loss", "size"))
    print(table.unstack("wrong").round(2).to_string())


if __name__ == "__main__":
    main(*sys.argv[1:])
