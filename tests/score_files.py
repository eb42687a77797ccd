"""Score files in the agreed format and small datasets in memory, for tests of what reads them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.influence.methods import METHODS


@dataclass(frozen=True)
class ArraySource:
    """Images (n, h, w) or (n, h, w, c) uint8 in memory."""

    pixels: NDArray[np.uint8]

    def read(self, row: int) -> NDArray[np.uint8]:
        return self.pixels[row]

    def identity(self) -> str:
        return f"array:{self.pixels.tobytes().hex()[:64]}"


def small_dataset(n: int = 12, c: int = 4, *, seed: int = 0) -> LabeledImages:
    """Return `n` random 8x8 grey images with labels 0, 1, ..., c - 1, 0, ... and names "class 0", ..."""
    rng = np.random.default_rng(seed)
    return LabeledImages(
        spec=DatasetSpec("npz", path="memory.npz"),
        ids=np.array([f"img-{k:04d}" for k in range(n)]),
        labels=np.arange(n, dtype=np.int64) % c,
        class_names=tuple(f"class {k}" for k in range(c)),
        source=ArraySource(rng.integers(0, 256, (n, 8, 8), dtype=np.uint8)),
        rows=np.arange(n, dtype=np.int64),
    )


def write_score_file(
    path: Path,
    dataset: LabeledImages,
    label_scores: NDArray[np.float64] | None,
    *,
    method: str = "influence",
    name: str = "digits",
    score: NDArray[np.float64] | None = None,
    exact: NDArray[np.bool_] | None = None,
    role: str = "fvm",
    row_group_size: int = 64,
    validation: dict[str, Any] | None = None,
) -> dict[str, Any]:
    """Write one score file as the Score job does and return its provenance. `label_scores` is (n, c) or None."""
    n = len(dataset)
    sign = METHODS[method].suspicious
    if label_scores is not None:
        score = label_scores[np.arange(n), dataset.labels]
        suggested = np.argmin(sign * label_scores, axis=1)
        lists: list[Any] = [row.astype(np.float32) for row in label_scores]
        exact_lists: list[Any] = list(np.ones(label_scores.shape, bool) if exact is None else exact)
    else:
        suggested, lists, exact_lists = np.full(n, -1), [None] * n, [None] * n
    assert score is not None
    clean = dataset.clean_labels if dataset.clean_labels is not None else np.full(n, -1)
    provenance = {
        "model": {"name": f"{name}-{role}", "role": role, "sha256": "0" * 64, "spec": {}},
        "dataset": {"name": name, "spec": dataset.spec.to_json(), "fingerprint": dataset.fingerprint},
        "validation": validation or {"name": "clean", "spec": {}, "fingerprint": "1" * 64},
        "method": method, "settings": {}, "seed": 0, "version": "0", "created": "2026-01-01T00:00:00+00:00",
        "seconds": 1.0, "samples_per_second": float(n), "machine": "test", "class_names": list(dataset.class_names),
        "notes": [],
    }  # fmt: skip
    table = pa.table(
        {
            "id": pa.array(dataset.ids.tolist(), pa.string()),
            "row": pa.array(np.arange(n), pa.int64()),
            "label": pa.array(dataset.labels, pa.int32()),
            "clean_label": pa.array(clean, pa.int32()),
            "score": pa.array(score, pa.float64()),
            "suspicion": pa.array(sign * score, pa.float64()),
            "suggested": pa.array(suggested, pa.int32()),
            "label_scores": pa.array(lists, pa.list_(pa.float32())),
            "label_exact": pa.array(exact_lists, pa.list_(pa.bool_())),
        }
    ).replace_schema_metadata({b"fvm_provenance": json.dumps(provenance).encode()})
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path, row_group_size=row_group_size)
    return provenance
