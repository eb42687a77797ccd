"""Maps and neighbours on disk, one Parquet file each, found by what they were made from. No torch here.

Both lie in the cache and may be deleted at any time; the job `map` makes them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvm_core.embedding.settings import MapSettings
from fvm_core.errors import DataError
from fvm_core.files import atomic_write
from fvm_core.influence.store import PROVENANCE, with_provenance
from fvm_core.provenance import digest, version
from fvm_core.workspace import Workspace

COUNT = 10
"""Neighbours kept for each image."""
# `row` is the sample's index in the opened dataset. `x`, `y` are UMAP's, null until it is done.
MAP_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("row", pa.int64()), ("pca_x", pa.float32()), ("pca_y", pa.float32()),
        ("x", pa.float32()), ("y", pa.float32()),
    ]
)  # fmt: skip
# The nearest images, the nearest first: `neighbours` are rows of the same dataset (their ids, labels and images are
# those of the opened dataset at these indices), `similarity` the cosine of the features, `pixel_rms` the root mean
# square difference of the decoded pixels at the model's size, 0 to 255.
NEIGHBOUR_SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("row", pa.int64()), ("neighbours", pa.list_(pa.int64())),
        ("similarity", pa.list_(pa.float32())), ("pixel_rms", pa.list_(pa.float32())),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class Seen:
    """Which images under which weights: the weights' SHA-256, what the model expects (its spec as JSON), and the
    dataset's fingerprint, as in a score file's provenance."""

    model: str
    spec: str
    dataset: str

    @classmethod
    def behind(cls, provenance: Mapping[str, Any]) -> Seen:
        """Return what a score file was made from.

        Raises:
            DataError: the provenance does not name it.
        """
        try:
            model, data = provenance["model"], provenance["dataset"]
            return cls(str(model["sha256"]), json.dumps(model["spec"], sort_keys=True), str(data["fingerprint"]))
        except (KeyError, TypeError) as error:
            raise DataError(
                f"these scores do not say which model or data they come from ({error} is missing). Score again."
            ) from error

    @property
    def key(self) -> str:
        return digest([self.model, self.spec, self.dataset, version()])[:32]


def features_path(workspace: Workspace, seen: Seen) -> Path:
    """Return cache/features/KEY.npy: (m, d) float32, m the readable images in the dataset's order."""
    return workspace.cache / "features" / f"{seen.key}.npy"


def map_path(workspace: Workspace, seen: Seen, settings: MapSettings) -> Path:
    """Return cache/maps/KEY.parquet (MAP_SCHEMA)."""
    return workspace.cache / "maps" / f"{digest([seen.key, settings.to_json()])[:32]}.parquet"


def neighbours_path(workspace: Workspace, seen: Seen) -> Path:
    """Return cache/neighbours/KEY.parquet (NEIGHBOUR_SCHEMA, COUNT neighbours an image)."""
    return workspace.cache / "neighbours" / f"{seen.key}.parquet"


def across_path(workspace: Workspace, seen: Seen, other: str) -> Path:
    """Return cache/across/KEY.parquet (NEIGHBOUR_SCHEMA, `neighbours` being rows of the dataset with the fingerprint
    `other`)."""
    return workspace.cache / "across" / f"{digest([seen.key, other])[:32]}.parquet"


def write_frame(path: Path, schema: pa.Schema, columns: Mapping[str, Any], provenance: Mapping[str, Any]) -> None:
    """Write the columns of MAP_SCHEMA or NEIGHBOUR_SCHEMA whole or not at all; (n, k) arrays become lists."""
    arrays = [_array(columns[field.name], field.type) for field in schema]
    table = pa.Table.from_arrays(arrays, schema=with_provenance(schema, provenance))
    with atomic_write(path) as file:
        pq.write_table(table, file)


def _array(values: Any, kind: pa.DataType) -> pa.Array:
    if not pa.types.is_list(kind):
        return pa.array(values, kind)
    flat = np.asarray(values)
    offsets = np.arange(0, flat.size + 1, max(flat.shape[1], 1), dtype=np.int32)
    if flat.shape[1] == 0:
        offsets = np.zeros(len(flat) + 1, np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), pa.array(flat.reshape(-1), kind.value_type))


def read_map(path: Path) -> pd.DataFrame:
    """Return the columns of MAP_SCHEMA, one row a readable image in the dataset's order.

    Raises:
        DataError: missing, damaged, or not one of ours.
    """
    return _read(path, MAP_SCHEMA, "map").to_pandas()


@dataclass(frozen=True)
class NeighbourTable:
    """The neighbours of m readable images: `rows` (m,) are theirs in the dataset, `neighbours` (m, k) int64,
    `similarity` (m, k) and `pixel_rms` (m, k) float32 as in NEIGHBOUR_SCHEMA."""

    rows: NDArray[np.int64]
    neighbours: NDArray[np.int64]
    similarity: NDArray[np.float32]
    pixel_rms: NDArray[np.float32]
    provenance: dict[str, Any]

    def of(self, row: int) -> tuple[NDArray[np.int64], NDArray[np.float32], NDArray[np.float32]]:
        """Return (neighbours, similarity, pixel_rms), each (k,), of the image at `row` of the dataset; all of length 0
        for an image that could not be read."""
        at = np.searchsorted(self.rows, row)
        found = slice(at, at + 1) if at < len(self.rows) and self.rows[at] == row else slice(0, 0)
        parts = (self.neighbours[found], self.similarity[found], self.pixel_rms[found])
        return parts[0].reshape(-1), parts[1].reshape(-1), parts[2].reshape(-1)


def read_neighbours(path: Path) -> NeighbourTable:
    """Return the neighbours of every image.

    Raises:
        DataError: missing, damaged, or not one of ours.
    """
    table = _read(path, NEIGHBOUR_SCHEMA, "neighbours")
    rows = table["row"].to_numpy()
    near, similarity, apart = (
        table[name].combine_chunks().flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
        for name in ("neighbours", "similarity", "pixel_rms")
    )
    return NeighbourTable(rows, near, similarity, apart, json.loads(table.schema.metadata[PROVENANCE]))


def _read(path: Path, schema: pa.Schema, what: str) -> pa.Table:
    remedy = "Delete the file and make the map again."
    try:
        table = pq.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"{what} `{path}` cannot be read ({error}). {remedy}") from error
    if table.schema.names != schema.names or PROVENANCE not in (table.schema.metadata or {}):
        raise DataError(f"{what} `{path}` is not one of ours. {remedy}")
    return table
