"""Score files: which there are, what is in them, what they are called. No torch here: pages read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from fvm_core.errors import DataError
from fvm_core.files import slug
from fvm_core.influence.methods import METHODS
from fvm_core.tuning.solvers import name_with_solver
from fvm_core.workspace import Workspace

PROVENANCE = b"fvm_provenance"
SNAPSHOTS = "snapshots"
ROLES = {"base": "Base", "vm": "VM", "fvm": "FVM", "imported": "Imported"}
# `row` is the sample's index in the opened dataset, so that `dataset.read(row)` gives its image.
SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("row", pa.int64()), ("label", pa.int32()), ("clean_label", pa.int32()),
        ("score", pa.float64()), ("suspicion", pa.float64()), ("suggested", pa.int32()),
        ("label_scores", pa.list_(pa.float32())), ("label_exact", pa.list_(pa.bool_())),
    ]
)  # fmt: skip
SNAPSHOT_SCHEMA = pa.schema(
    [
        ("step", pa.int64()), ("method", pa.string()), ("id", pa.string()), ("score", pa.float64()),
        ("suspicion", pa.float64()), ("mislabeled", pa.bool_()),
    ]
)  # fmt: skip


@dataclass(frozen=True)
class RunInfo:
    """One score file: scores/RUN/METHOD.parquet; `method` is a key of METHODS, or `snapshots`."""

    run: str
    method: str
    path: str
    provenance: dict[str, Any]


@dataclass(frozen=True)
class ScoreTable:
    """`frame`: the columns of SCHEMA (or those asked for), one row a sample in the dataset's order."""

    frame: pd.DataFrame
    provenance: dict[str, Any]


def list_runs(workspace: Workspace) -> list[RunInfo]:
    """Return every readable score file, by run and method. Files that are not ours are left out."""
    found = []
    for path in sorted(workspace.scores.glob("*/*.parquet")):
        if path.stem not in METHODS and path.stem != SNAPSHOTS:
            continue
        try:
            found.append(RunInfo(path.parent.name, path.stem, str(path), read_provenance(path)))
        except DataError:
            continue
    return found


def read_provenance(path: Path | str) -> dict[str, Any]:
    """Return the provenance from a score file's footer; no row is read.

    Raises:
        DataError: the file is missing, damaged, or carries none.
    """
    try:
        metadata = pq.read_schema(path).metadata or {}
        value = json.loads(metadata[PROVENANCE])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
    if not isinstance(value, dict):
        raise DataError(f"score file `{path}` carries no provenance of ours. Score the dataset again.")
    return value


def read_scores(path: Path | str, columns: Sequence[str] | None = None) -> ScoreTable:
    """Return a score file, or only some of its columns.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    provenance = read_provenance(path)
    missing = set(columns or ()) - set(pq.read_schema(path).names)
    if missing:
        raise DataError(f"score file `{path}` lacks the columns {sorted(missing)}. Score the dataset again.")
    try:
        table = pq.read_table(path, columns=None if columns is None else list(columns))
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
    return ScoreTable(table.to_pandas(), provenance)


def read_column(path: Path | str, column: str) -> NDArray[Any]:
    """Return one column of numbers (n,) as it is stored; nothing else of the file is read or kept.

    Raises:
        DataError: the file is missing or damaged, or lacks the column.
    """
    try:
        with pq.ParquetFile(path) as file:
            if column not in file.schema_arrow.names:
                raise DataError(f"score file `{path}` lacks the columns {[column]}. Score the dataset again.")
            numbers = file.read(columns=[column]).column(0).to_numpy()
        pa.default_memory_pool().release_unused()  # a server reads hundreds of such columns and keeps few
        return numbers
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error


def read_ids(path: Path | str, positions: ArrayLike) -> list[str]:
    """Return the ids of the rows at `positions`; only the row groups that hold them are read.

    Raises:
        DataError: the file is missing or damaged.
    """
    wanted = np.asarray(positions, dtype=np.int64)
    ids = [""] * len(wanted)
    try:
        with pq.ParquetFile(path) as file:
            sizes = [file.metadata.row_group(group).num_rows for group in range(file.metadata.num_row_groups)]
            ends = np.cumsum(sizes)
            groups = np.searchsorted(ends, wanted, side="right")
            for group in np.unique(groups):
                column = file.read_row_group(int(group), columns=["id"]).column(0)
                for place in np.flatnonzero(groups == group):
                    ids[place] = column[int(wanted[place] - (ends[group] - sizes[group]))].as_py()
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
    return ids


def with_provenance(schema: pa.Schema, provenance: Mapping[str, Any]) -> pa.Schema:
    """Return `schema` with the provenance as its metadata."""
    return schema.with_metadata({PROVENANCE: json.dumps(dict(provenance), sort_keys=True).encode()})


def display_name(provenance: Mapping[str, Any]) -> str:
    """Return what a person calls these scores: `FVM` and `VM` for the paper's scores, else model and method; weights
    from the middle of a training run go by their epoch, an FVM of another solver than SAM by the solver.

    >>> display_name({"model": {"role": "fvm"}, "method": "influence"})
    'FVM'
    >>> display_name({"model": {"role": "fvm", "solver": "asam"}, "method": "influence"})
    'FVM (ASAM)'
    >>> display_name({"model": {"role": "base"}, "method": "loss"})
    'Base · Cross-entropy loss'
    >>> display_name({"model": {"role": "base", "epoch": 4}, "method": "loss"})
    'Base · epoch 4 · Cross-entropy loss'
    """
    model = provenance.get("model", {})
    role = name_with_solver(ROLES.get(str(model.get("role")), str(model.get("name", "Model"))), model.get("solver"))
    method = str(provenance.get("method"))
    if model.get("epoch") is not None:
        role = f"{role} · epoch {model['epoch']}"
    elif method == "influence" and model.get("role") in ("vm", "fvm"):
        return role
    if method == SNAPSHOTS:
        return f"{role} · tuning snapshots"
    return f"{role} · {METHODS[method].title if method in METHODS else method}"


def default_run(model: str, checkpoint: int | None = None) -> str:
    """Return the folder of a model's scores when no other is asked for: its name, with the epoch of a checkpoint.

    >>> default_run("cats-base"), default_run("cats-base", 4)
    ('cats-base', 'cats-base-epoch-004')
    """
    if checkpoint is None:
        return slug(model)
    tail = f"-epoch-{checkpoint:03d}"
    return slug(model)[: 64 - len(tail)] + tail
