"""Parquet shards with the images inside, whose footer tells Hugging Face `datasets` which column is an image."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.files import atomic_write, read_json, write_json
from fvm_core.review.exports.bundle import Bundle
from fvm_core.review.exports.images import EVERY, file_name, outcome, read_png

SHARD = 10_000
GROUP_BYTES = 32 * 2**20
GROUP_ROWS = 1000
TEXTS = ("id", "action", "reviewer", "decided_at", "method", "dataset_fingerprint", "fvm_version")


def schema(class_names: tuple[str, ...]) -> pa.Schema:
    """Return the columns, with the features that `datasets.load_dataset("parquet", ...)` takes over: image as Image,
    label and given_label as ClassLabel with the names."""
    label = {"names": list(class_names), "_type": "ClassLabel"}
    features: dict[str, Any] = {"image": {"_type": "Image"}, "label": label, "given_label": label}
    features |= {"suggested": {"dtype": "int64", "_type": "Value"}, "score": {"dtype": "float64", "_type": "Value"}}
    features |= {name: {"dtype": "string", "_type": "Value"} for name in TEXTS}
    kinds: dict[str, Any] = {
        "image": pa.struct([("bytes", pa.binary()), ("path", pa.string())]),
        **dict.fromkeys(("label", "given_label", "suggested"), pa.int64()),
        "score": pa.float64(),
        **dict.fromkeys(TEXTS, pa.string()),
    }
    metadata = json.dumps({"info": {"features": features}})
    return pa.schema([(name, kinds[name]) for name in features], metadata={"huggingface": metadata})


def write(bundle: Bundle, target: Path, tell: Any) -> dict[str, Any]:
    """Write `data/train-00000-of-00005.parquet` and so on: 10,000 images a shard, at most 32 MiB in memory.

    A resumed call keeps whole shards (a small file beside each says which of its images cannot be read).
    """
    layout = schema(bundle.dataset.class_names)
    starts = range(0, len(bundle), SHARD)
    broken: dict[int, str] = {}
    for number, start in enumerate(starts):
        path = target / "data" / f"train-{number:05d}-of-{len(starts):05d}.parquet"
        noted = target / f".{path.stem}.json"
        if not (path.exists() and noted.exists()):
            lost = _write_shard(bundle, path, layout, start, tell)
            write_json(noted, {str(row): reason for row, reason in lost.items()})
        broken |= {int(row): reason for row, reason in read_json(noted, what="shard notes").items()}
    for noted in target.glob(".*.json"):
        noted.unlink()
    tell(len(bundle), len(bundle))
    return outcome(bundle, broken)


def _write_shard(bundle: Bundle, path: Path, layout: pa.Schema, start: int, tell: Any) -> dict[int, str]:
    lost: dict[int, str] = {}
    frame = bundle.frame.iloc[start : start + SHARD]
    with atomic_write(path) as file, pq.ParquetWriter(file, layout) as writer:
        images: list[Any] = []
        rows: list[int] = []
        size = 0
        for row in range(start, start + len(frame)):
            if row % EVERY == 0:
                tell(row, len(bundle))
            index = int(bundle.indices[row])
            data = read_png(bundle, index)
            if isinstance(data, str):
                lost[row] = data
                continue
            images.append({"bytes": data, "path": file_name(index)})
            rows.append(row - start)
            size += len(data)
            if size > GROUP_BYTES or len(rows) == GROUP_ROWS:
                writer.write_table(_table(frame.iloc[rows], images, layout))
                images, rows, size = [], [], 0
        if rows:
            writer.write_table(_table(frame.iloc[rows], images, layout))
    return lost


def _table(frame: Any, images: list[Any], layout: pa.Schema) -> pa.Table:
    columns = [pa.array(images, layout.field("image").type)]
    columns += [pa.array(frame[field.name].tolist(), field.type, from_pandas=True) for field in list(layout)[1:]]
    return pa.Table.from_arrays(columns, schema=layout)
