"""Planted wrong labels: a test of a list on the person's own data, where the truth of some labels is known because we
changed them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from fvm_core.errors import DataError, SettingsError
from fvm_core.field_types import check_known, check_rules, check_types
from fvm_core.files import read_json
from fvm_core.influence.methods import METHODS
from fvm_core.influence.metrics import auc_ap, relabel_accuracy
from fvm_core.provenance import digest
from fvm_core.workspace import Workspace

PATTERNS = ("uniform", "confusions")
FOLDER = "self_tests"


@dataclass(frozen=True, kw_only=True)
class PlantSettings:
    """`share` of the `limit` training samples drawn by `seed` (None: all) gets another label: any of the others
    (`uniform`), or one that people give instead of it, as the model's predictions imply (`confusions`)."""

    share: float = 0.1
    limit: int | None = 5000
    seed: int = 0
    pattern: str = "confusions"

    def __post_init__(self) -> None:
        check_types(self)
        rules = (
            (0 < self.share < 1, "share", "in (0, 1)"),
            (self.limit is None or self.limit >= 2, "limit", ">= 2, or none for all"),
            (self.seed >= 0, "seed", ">= 0"),
            (self.pattern in PATTERNS, "pattern", f"one of {PATTERNS}"),
        )
        check_rules(self, rules)

    def to_json(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> PlantSettings:
        """Build from a mapping. Raises SettingsError for an unknown key or a value out of range."""
        check_known(cls, value)
        return cls(**value)


@dataclass(frozen=True)
class Planted:
    """`rows`: places in the dataset that take part, ascending; `flipped`: those of them whose label was changed, and
    `labels` what to, in the same order."""

    rows: NDArray[np.int64]
    flipped: NDArray[np.int64]
    labels: NDArray[np.int64]


def plant(labels: NDArray[np.int64], classes: int, settings: PlantSettings, matrix: Any = None) -> Planted:
    """Return which of the labels (n,) to change and what to: a pure function of its arguments.

    `matrix` (c, c): P(given | true), needed by the pattern `confusions`; its diagonal does not count. Where a row has
    nothing beside the diagonal, every other class is as likely.

    Raises:
        DataError: fewer than two classes, or too few samples for one change.
        SettingsError: no matrix of that shape for `confusions`.
    """
    rng = np.random.default_rng([settings.seed, 71])
    size = len(labels) if settings.limit is None else min(settings.limit, len(labels))
    count = round(settings.share * size)
    if classes < 2 or count < 1 or count >= size:
        raise DataError(
            f"a share of {settings.share:g} of {size:,} samples in {classes} classes must change at least one label "
            "and leave one. Take more samples, or another `share`."
        )
    rows = np.sort(rng.permutation(len(labels))[:size]).astype(np.int64)
    flipped = np.sort(rng.choice(rows, count, replace=False))
    weights = np.ones((classes, classes)) if settings.pattern == "uniform" else np.array(matrix, dtype=np.float64)
    if weights.shape != (classes, classes):
        raise SettingsError(f"`matrix` must be ({classes}, {classes}) for `confusions`, got {weights.shape}.")
    np.fill_diagonal(weights, 0.0)
    weights[weights.sum(1) <= 0] = 1.0
    np.fill_diagonal(weights, 0.0)
    steps = np.cumsum(weights / weights.sum(1, keepdims=True), axis=1)
    drawn = rng.random(count)
    given = labels[flipped]
    new = (drawn[:, None] >= steps[given]).sum(1).clip(max=classes - 1)
    # A draw at the very end of a row may fall on its own class by rounding: the likeliest other one is taken.
    new = np.where(new == given, weights[given].argmax(1), new)
    return Planted(rows, flipped, new.astype(np.int64))


def recall_table(frame: pd.DataFrame, flipped: Sequence[str], original: Mapping[str, int]) -> dict[str, Any]:
    """Return how well one method's list finds the planted labels.

    `frame`: id, suspicion and suggested of the samples that took part. Returns {"auc", "ap": in [0, 1]; "relabel": the
    share of planted ones whose suggestion is the label from before (None without suggestions); "at": [{"count",
    "found", "recall", "precision"}] after half, once, twice and four times as many samples as were planted}. A label
    that was wrong before counts as right here, so `precision`, `auc` and `ap` are too low where there are such.

    Raises:
        DataError: see `auc_ap`.
    """
    planted = frame["id"].isin(list(flipped)).to_numpy()
    suspicion = frame["suspicion"].to_numpy(np.float64)
    auc, ap = auc_ap(suspicion, planted)
    hits = planted[np.argsort(-suspicion, kind="stable")]
    counts = sorted({min(len(hits), max(1, round(factor * planted.sum()))) for factor in (0.5, 1, 2, 4)})
    at = [
        {
            "count": count,
            "found": int(hits[:count].sum()),
            "recall": float(hits[:count].sum() / planted.sum()),
            "precision": float(hits[:count].mean()),
        }
        for count in counts
    ]
    chosen = frame[planted]
    before = chosen["id"].map(original).to_numpy()
    known = (chosen["suggested"] >= 0).any()
    relabel = relabel_accuracy(chosen["suggested"].to_numpy(), before) if known else None
    return {"auc": auc, "ap": ap, "relabel": relabel, "at": at}


def self_test_key(
    model: str, dataset: str, validation: str, methods: Sequence[str], settings: PlantSettings,
    scoring: Mapping[str, Any],
) -> str:  # fmt: skip
    """Return the name of a self-test's folder: a digest of the weights' SHA-256, both fingerprints, the settings and
    those of the scoring."""
    return digest([model, dataset, validation, sorted(methods), settings.to_json(), dict(scoring)])[:32]


def self_test_path(workspace: Workspace, key: str) -> Path:
    """Return self_tests/KEY/result.json."""
    return workspace.root / FOLDER / key / "result.json"


def read_self_test(workspace: Workspace, key: str) -> dict[str, Any]:
    """Return a finished self-test as the job wrote it.

    Raises:
        DataError: there is none, or it is damaged.
    """
    found = read_json(self_test_path(workspace, key), what="the self-test")
    if not set(found.get("methods", {"": 0})) <= set(METHODS):
        raise DataError(f"self-test `{key}` is not one of ours. Run it again.")
    return found
