"""Small images and files that the data tests share."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from fvm_core.data.dataset import DatasetSpec


def png(value: int = 0, *, side: int = 4, mode: str = "RGB") -> bytes:
    """One flat picture as PNG bytes; `value` is the grey level."""
    band = np.full((side, side), value, np.uint8)
    array = band if mode == "L" else np.stack([band] * 3, axis=-1)
    out = io.BytesIO()
    Image.fromarray(array).save(out, "PNG")
    return out.getvalue()


def write_parquet(
    path: Path, images: list[Any], labels: list[Any], *, metadata: dict[str, str] | None = None, **more: Any
) -> DatasetSpec:
    """Write image bytes (or {bytes, path} structs) with labels, and return the spec that opens them."""
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())]) if isinstance(images[0], dict) else pa.binary()
    rows = more.pop("row_group_size", None)
    table = pa.table({"image": pa.array(images, kind), "label": pa.array(labels), **more})
    pq.write_table(table.replace_schema_metadata(metadata), path, row_group_size=rows)
    return DatasetSpec("parquet", str(path), "image", "label")
