"""A made-up workspace of any size: JPEG images in Parquet shards, and score files written as the Score job does.

    python -m tests.benchmarks.big_workspace FOLDER --rows 1000000

Images are 32 x 32 (a few random colours blown up), labels ten classes of which 40 % are wrong; the scores have the
shape of real ones (tests/invented_scores.py) and are no measurements.
"""

from __future__ import annotations

import argparse
import io
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.registry import add_dataset, open_named
from fvm_core.influence.methods import METHODS
from fvm_core.influence.parts import GROUP_ROWS, merge, part_path, read_part, write_part
from fvm_core.influence.store import SCHEMA, with_provenance
from fvm_core.workspace import Workspace
from tests.invented_scores import Invented, invent, label_scores, predict, provenance

SHARD_ROWS = 100_000
GROUP_IMAGES = 1000
RUNS = {
    "big-base": ("base", ("standard", "loss", "margin", "el2n")),
    "big-vm": ("vm", ("influence", "posterior", "loss", "margin", "el2n")),
    "big-fvm": ("fvm", ("influence", "posterior", "loss", "margin", "el2n", "confident")),
}


def build(workspace: Workspace, rows: int, *, seed: int = 0) -> None:
    """Write `rows` images and fifteen score files of them."""
    data = invent(rows, seed=seed, name="big")
    folder = workspace.root / "images"
    folder.mkdir(parents=True, exist_ok=True)
    random = np.random.default_rng(seed)
    for number, start in enumerate(range(0, rows, SHARD_ROWS)):
        _shard(folder / f"train-{number:03d}.parquet", data, slice(start, min(start + SHARD_ROWS, rows)), random)
    spec = DatasetSpec(
        "parquet", path=str(folder), image="image", label="label", clean_label="clean_label",
        options={"class_names": list(data.class_names)},
    )  # fmt: skip
    add_dataset(workspace, "big", spec)
    dataset = open_named(workspace, "big")
    data = replace(data, fingerprint=dataset.fingerprint, spec=spec.to_json())
    for run, (role, methods) in RUNS.items():
        _run(workspace, run, role, methods, data, dataset)


def _shard(path: Path, data: Invented, part: slice, random: np.random.Generator) -> None:
    if path.exists():
        return
    columns: dict[str, Any] = {"image": [], "label": data.labels[part], "clean_label": data.clean[part]}
    for small in random.integers(0, 256, (part.stop - part.start, 4, 4, 3), dtype=np.uint8):
        out = io.BytesIO()
        Image.fromarray(small).resize((32, 32), Image.Resampling.BICUBIC).save(out, "JPEG", quality=90)
        columns["image"].append(out.getvalue())
    pq.write_table(pa.table(columns), path, row_group_size=GROUP_IMAGES, use_dictionary=False)


def _run(
    workspace: Workspace, run: str, role: str, methods: tuple[str, ...], data: Invented, dataset: LabeledImages
) -> None:
    parts = workspace.root / "parts"
    n = len(dataset)
    for start in range(0, n, GROUP_ROWS):
        rows = np.arange(start, min(start + GROUP_ROWS, n))
        few = replace(data, labels=data.labels[rows], clean=data.clean[rows])
        p = predict(few, role, seed=start)
        for method in methods:
            table = label_scores(method, p, seed=start, role=role)
            write_part(part_path(parts, method, start), _table(dataset, few, rows, method, table), plan=run, seconds=1)
    for method in methods:
        found = [read_part(part_path(parts, method, start), plan=run) for start in range(0, n, GROUP_ROWS)]
        schema = with_provenance(SCHEMA, provenance(data, role, run, method, 0, ()))
        merge([part for part in found if part], workspace.scores / run / f"{method}.parquet", schema)
    shutil.rmtree(parts)


def _table(dataset: LabeledImages, few: Invented, rows: np.ndarray, method: str, table: np.ndarray) -> pa.Table:
    sign, relabels = METHODS[method].suspicious, METHODS[method].relabels
    score = table[np.arange(len(rows)), few.labels]
    offsets = pa.array(np.arange(0, table.size + 1, table.shape[1], dtype=np.int32))

    def lists(values: np.ndarray, kind: pa.DataType) -> pa.Array:
        if not relabels:
            return pa.nulls(len(rows), pa.list_(kind))
        return pa.ListArray.from_arrays(offsets, pa.array(values.reshape(-1), kind))

    columns = {
        "id": pa.array(dataset.ids[rows].tolist(), pa.string()), "row": pa.array(rows, pa.int64()),
        "label": pa.array(few.labels, pa.int32()), "clean_label": pa.array(few.clean, pa.int32()),
        "score": pa.array(score, pa.float64()), "suspicion": pa.array(sign * score, pa.float64()),
        "suggested": pa.array((sign * table).argmin(axis=1) if relabels else np.full(len(rows), -1), pa.int32()),
        "label_scores": lists(table.astype(np.float32), pa.float32()),
        "label_exact": lists(np.ones(table.shape, bool), pa.bool_()),
    }  # fmt: skip
    return pa.table(columns, schema=SCHEMA)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    build(Workspace(args.folder.resolve()), args.rows)


if __name__ == "__main__":
    main()
