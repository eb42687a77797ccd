"""What the Learn page's jobs leave behind: learn/KIND-KEY.parquet, found by what decided it. No torch here."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.errors import DataError
from fvm_core.files import atomic_write
from fvm_core.influence.store import PROVENANCE, ScoreTable, with_provenance
from fvm_core.learn.settings import LandscapeSettings
from fvm_core.provenance import digest, version
from fvm_core.workspace import Workspace

# `panel`: "random" (around `model`), "plane" (through three models) or "point" (one of them, on the plane). `x`, `y`:
# steps along the two directions (random), Euclidean lengths (plane, point). Losses in nats: clean validation labels,
# given training labels.
LANDSCAPE = pa.schema(
    [
        ("panel", pa.string()), ("model", pa.string()), ("x", pa.float64()), ("y", pa.float64()),
        ("validation_loss", pa.float64()), ("training_loss", pa.float64()),
    ]
)  # fmt: skip
# One row a listed term (`index` into the flattened parameter): gradient g, Fisher F, term g^2 / (F + d). And one a
# parameter, `index` -1: the norm of g, the mean of F, the sum of all its terms.
FLAG = pa.schema(
    [
        ("label", pa.int32()), ("layer", pa.string()), ("parameter", pa.string()), ("index", pa.int64()),
        ("gradient", pa.float64()), ("fisher", pa.float64()), ("term", pa.float64()),
    ]
)  # fmt: skip


def landscape_key(models: Sequence[str], dataset: str, validation: str, settings: LandscapeSettings) -> str:
    """Return the name of a landscape: a digest of the weights' SHA-256 (in order), both fingerprints and settings."""
    return digest([list(models), dataset, validation, settings.to_json(), version()])[:32]


def learn_path(workspace: Workspace, kind: str, key: str) -> Path:
    """Return learn/KIND-KEY.parquet; `kind` is "landscape" or "flag"."""
    return workspace.root / "learn" / f"{kind}-{key}.parquet"


def write_table(path: Path, frame: pd.DataFrame, schema: pa.Schema, provenance: Mapping[str, Any]) -> None:
    """Write a table with its provenance, whole or not at all."""
    table = pa.Table.from_pandas(frame, schema=schema, preserve_index=False).cast(with_provenance(schema, provenance))
    with atomic_write(path) as file:
        pq.write_table(table, file)


def read_table(path: Path, schema: pa.Schema) -> ScoreTable:
    """Return a table that `write_table` wrote under `schema`.

    Raises:
        DataError: missing, damaged, or not one of ours.
    """
    try:
        table = pq.read_table(path)
        provenance = json.loads((table.schema.metadata or {})[PROVENANCE])
        if table.schema.names != schema.names:
            raise ValueError("its columns are others")
    except (OSError, ValueError, KeyError, pa.ArrowException) as error:
        raise DataError(f"`{path}` cannot be read ({error}). Delete it and compute it again.") from error
    return ScoreTable(table.to_pandas(), provenance)
