"""Expected against real precision and recall of a cut, where the truth is known.

python -m tests.benchmarks.expected_precision RUN [RUN ...]    (runs of the workspace with `posterior` and `loss`)
"""

from __future__ import annotations

import sys

import numpy as np
import pandas as pd

from fvm_core.influence.store import read_scores
from fvm_core.review.outlook import ranking
from fvm_core.review.thresholds import Cuts, chances
from fvm_core.workspace import current_workspace

COUNTS = (500, 2000, 5000, 10_000, 20_000)


def table(run: str) -> pd.DataFrame:
    """Return expected and real precision and recall in percent after COUNTS images, by posterior and by loss."""
    folder = current_workspace().scores / run
    known = read_scores(folder / "posterior.parquet", columns=["label", "clean_label", "score"]).frame
    wrong = (known["label"] != known["clean_label"]).to_numpy()
    chance = chances(known["score"].to_numpy())
    rows = []
    for method in ("posterior", "loss"):
        suspicion = read_scores(folder / f"{method}.parquet", columns=["suspicion"]).frame["suspicion"].to_numpy()
        cuts, found = Cuts(suspicion, chance), np.cumsum(wrong[ranking(suspicion)])
        for count in (item for item in COUNTS if item <= len(wrong)):
            cut, real = cuts.by_budget(count), found[count - 1]
            shares = (cut.precision, real / count, cut.recall, real / wrong.sum())
            rows.append((run, method, count, *(100 * share for share in shares), cut.wrong, wrong.sum()))
    names = ["run", "list", "images", "precision", "real", "recall", "real recall", "expected wrong", "wrong"]
    return pd.DataFrame(rows, columns=names).round(1)


if __name__ == "__main__":
    print(pd.concat([table(run) for run in sys.argv[1:]]).to_string(index=False))
