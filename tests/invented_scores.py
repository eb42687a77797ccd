"""Score files in the very format of the scoring job, made up: for tests of pages and for looking at them.

`invent` draws a noisy dataset, `predict` what a model of some quality says about it, `write_run` and
`write_snapshots` the files. Numbers are shaped like CIFAR-10N's, they are not measurements.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvm_core.influence.methods import DEFAULT_METHODS, METHODS
from fvm_core.workspace import Workspace

SHARPNESS = {"base": 1.0, "imported": 1.0, "vm": 1.3, "fvm": 1.4}


@dataclass(frozen=True)
class Invented:
    """A made-up dataset. `labels`, `clean` (n,) int64; with `hidden` the files say that no truth is known."""

    ids: list[str]
    labels: NDArray[np.int64]
    clean: NDArray[np.int64]
    class_names: tuple[str, ...]
    name: str = "cifar10n-worse"
    fingerprint: str = "c0ffee" + "0" * 58
    spec: Mapping[str, Any] = field(default_factory=lambda: {"kind": "parquet", "path": "/nowhere/train.parquet"})
    hidden: bool = False

    def stored_clean(self) -> NDArray[np.int64]:
        return np.full_like(self.clean, -1) if self.hidden else self.clean


def invent(n: int = 600, *, classes: int = 10, wrong: float = 0.4, seed: int = 0, **options: Any) -> Invented:
    """Draw `n` clean labels and flip a share `wrong` of them to a neighbouring class more often than to others."""
    random = np.random.default_rng(seed)
    clean = random.integers(0, classes, n)
    shift = np.where(random.random(n) < 0.6, 1, random.integers(1, classes, n))
    labels = np.where(random.random(n) < wrong, (clean + shift) % classes, clean)
    names = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
    ids = [f"train-{row:05d}" for row in range(n)]
    return Invented(
        ids, labels, clean, names[:classes] if classes <= 10 else tuple(map(str, range(classes))), **options
    )


def predict(data: Invented, role: str, *, seed: int = 0) -> NDArray[np.float64]:
    """Return (n, c) probabilities of a model: the base one half believes the given labels, tuned ones the clean."""
    random = np.random.default_rng([seed, len(role), ord(role[0])])
    n, c = len(data.labels), len(data.class_names)
    logits = random.normal(0, 1.1, (n, c))
    rows = np.arange(n)
    hardness = np.random.default_rng(seed).gamma(2.0, 1.0, n)
    logits[rows, data.clean] += SHARPNESS[role] * (4.6 - hardness)
    if role in ("base", "imported"):
        logits[rows, data.labels] += 2.6
    logits -= logits.max(axis=1, keepdims=True)
    p = np.exp(logits)
    return p / p.sum(axis=1, keepdims=True)


def label_scores(method: str, p: NDArray[np.float64], *, seed: int, role: str) -> NDArray[np.float64]:
    """Return (n, c): `method`'s score of every label, in its own sign."""
    random = np.random.default_rng([seed, len(method)])
    n, c = p.shape
    eye = np.eye(c)
    residual = ((p[:, None, :] - eye[None]) ** 2).sum(axis=2)
    features = np.exp(random.normal(0, 1.3, (n, 1)))
    if method == "influence":
        return 1e5 * features * residual**1.5
    if method == "standard":
        pull = 0.9 - residual if role in ("base", "imported") else 0.2 - 0.1 * residual
        return 3e-3 * pull * features + 2e-3 * random.standard_t(3, (n, c)) * np.sqrt(residual + 1e-4)
    if method in ("loss", "posterior"):
        return -np.log(np.maximum(p, 1e-9))
    if method == "el2n":
        return np.sqrt(residual)
    others = np.stack([np.delete(p, k, axis=1).max(axis=1) for k in range(c)], axis=1)
    if method == "margin":
        return others - p
    if method == "logit_margin":
        return np.log(np.maximum(others, 1e-9)) - np.log(np.maximum(p, 1e-9))
    return np.clip(0.5 * (1 + p - others), 0, 1)


def write_run(
    workspace: Workspace,
    run: str,
    data: Invented,
    *,
    role: str = "fvm",
    model: str = "",
    methods: Sequence[str] = DEFAULT_METHODS,
    rows: NDArray[np.int64] | None = None,
    seed: int = 0,
    notes: Sequence[str] = (),
) -> None:
    """Write `scores/RUN/METHOD.parquet` for each method, on `rows` of the dataset (default: all)."""
    p = predict(data, role, seed=seed)
    rows = np.arange(len(data.labels)) if rows is None else np.asarray(rows)
    for method in methods:
        table = label_scores(method, p, seed=seed, role=role)[rows]
        sign = METHODS[method].suspicious
        score = table[np.arange(len(rows)), data.labels[rows]]
        relabels = METHODS[method].relabels
        suggested = (sign * table).argmin(axis=1) if relabels else np.full(len(rows), -1)
        lists = list(table.astype(np.float32)) if relabels else [None] * len(rows)
        exact = [[True] * table.shape[1]] * len(rows) if relabels else [None] * len(rows)
        columns = {
            "id": pa.array([data.ids[row] for row in rows], pa.string()),
            "row": pa.array(rows, pa.int64()),
            "label": pa.array(data.labels[rows], pa.int32()),
            "clean_label": pa.array(data.stored_clean()[rows], pa.int32()),
            "score": pa.array(score, pa.float64()),
            "suspicion": pa.array(sign * score, pa.float64()),
            "suggested": pa.array(suggested, pa.int32()),
            "label_scores": pa.array(lists, pa.list_(pa.float32())),
            "label_exact": pa.array(exact, pa.list_(pa.bool_())),
        }
        _write(workspace, run, method, pa.table(columns), provenance(data, role, model or run, method, seed, notes))


def write_snapshots(
    workspace: Workspace,
    run: str,
    data: Invented,
    *,
    role: str = "fvm",
    model: str = "",
    steps: Sequence[int] = (0, 200, 400, 600, 800, 1000),
    sample: int = 300,
    seed: int = 0,
) -> None:
    """Write `scores/RUN/snapshots.parquet`: standard fades towards 0 and loses, ours gains, as in Fig. 3."""
    random = np.random.default_rng(seed)
    rows = np.sort(random.choice(len(data.labels), min(sample, len(data.labels)), replace=False))
    wrong = data.labels[rows] != data.clean[rows]
    parts = []
    for number, step in enumerate(steps):
        along = number / (len(steps) - 1)
        standard = 10 ** (-1.6 * along) * (random.standard_t(4, len(rows)) * 2 + 3 * (1 - along) * (0.7 - wrong))
        ours = np.exp(random.normal(0, 1, len(rows)) + (1 + 2 * along) * wrong) * 1e4
        for method, score in (("standard", standard), ("influence", ours)):
            columns = {
                "step": pa.array([step] * len(rows), pa.int64()),
                "method": pa.array([method] * len(rows), pa.string()),
                "id": pa.array([data.ids[row] for row in rows], pa.string()),
                "score": pa.array(score, pa.float64()),
                "suspicion": pa.array(METHODS[method].suspicious * score, pa.float64()),
                "mislabeled": pa.array([None] * len(rows) if data.hidden else wrong.tolist(), pa.bool_()),
            }
            parts.append(pa.table(columns))
    table = pa.concat_tables(parts)
    _write(workspace, run, "snapshots", table, provenance(data, role, model or run, "snapshots", seed, ()))


def provenance(data: Invented, role: str, model: str, method: str, seed: int, notes: Sequence[str]) -> dict[str, Any]:
    """Return what a score file says about where it comes from."""
    spec = {"arch": "cifar_resnet18", "num_classes": len(data.class_names), "width": 16}
    return {
        "model": {"name": model, "role": role, "sha256": hashlib.sha256(model.encode()).hexdigest(), "spec": spec},
        "dataset": {"name": data.name, "spec": dict(data.spec), "fingerprint": data.fingerprint},
        "validation": {"name": "cifar10-test", "spec": {"kind": "parquet"}, "fingerprint": "beef" + "0" * 60},
        "method": method,
        "settings": {"damping": 1e-8, "batch_size": 64, "relabel": "all", "limit": None},
        "seed": seed,
        "version": "0.1.0",
        "created": "2025-11-23T17:30:00+00:00",
        "seconds": 298.4,
        "samples_per_second": 167.6,
        "machine": "x86_64, 2 cores, Python 3.11",
        "class_names": list(data.class_names),
        "notes": list(notes),
    }


def _write(workspace: Workspace, run: str, name: str, table: pa.Table, origin: Mapping[str, Any]) -> None:
    folder = workspace.scores / run
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(
        table.replace_schema_metadata({b"fvm_provenance": json.dumps(origin).encode()}), folder / f"{name}.parquet"
    )
