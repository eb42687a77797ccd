"""Two models on the same clean images: accuracy overall and per class, and whether the difference could be chance."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import stats
from torch import nn

from fvm_core.tuning.evaluate import eval_mode
from fvm_core.tuning.feed import Feed

BATCH = 256


def right_answers(model: nn.Module, feed: Feed) -> NDArray[np.bool_]:
    """Return (v,) True where the model's largest output is the label, over all usable images, in eval mode, fp32."""
    found = []
    with eval_mode(model), torch.no_grad():
        for start in range(0, len(feed), BATCH):
            x, y = feed.batch(np.arange(start, min(start + BATCH, len(feed))))
            found.append((model(x).argmax(1) == y).cpu().numpy())
    return np.concatenate(found)


def compare(
    before: NDArray[np.bool_], after: NDArray[np.bool_], labels: NDArray[np.int64], names: tuple[str, ...]
) -> dict[str, Any]:
    """Return accuracies in [0, 1] of two models whose right answers on the same (v,) images these are.

    {"count", "before", "after", "won", "lost", "p", "classes": [{"name", "count", "before", "after"}]}; `won` images
    are right only after, `lost` only before; `p` is the two-sided exact sign test (McNemar) that both are equally
    likely, 1 where neither happens. Classes without an image have None. One pair of trainings: `p` says nothing of
    other seeds.

    >>> said = compare(np.array([True, False]), np.array([True, True]), np.array([0, 1]), ("a", "b"))
    >>> said["before"], said["after"], said["won"], said["lost"], said["p"]
    (0.5, 1.0, 1, 0, 1.0)
    """
    won, lost = int((after & ~before).sum()), int((before & ~after).sum())
    p = float(stats.binomtest(won, won + lost).pvalue) if won + lost else 1.0
    rows: list[dict[str, Any]] = []
    for code, name in enumerate(names):
        here = labels == code
        count = int(here.sum())
        shares = [float(right[here].mean()) if count else None for right in (before, after)]
        rows.append({"name": name, "count": count, "before": shares[0], "after": shares[1]})
    return {
        "count": len(labels), "before": float(before.mean()), "after": float(after.mean()),
        "won": won, "lost": lost, "p": p, "classes": rows,
    }  # fmt: skip
