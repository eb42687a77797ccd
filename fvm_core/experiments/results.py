"""One row a cell, kept as Parquet beside what it came from. No torch here: pages read it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.errors import DataError
from fvm_core.experiments.store import FOLDER
from fvm_core.experiments.tables import TABLES, WHAT
from fvm_core.files import atomic_write
from fvm_core.workspace import Workspace

ABOUT = b"fvm_experiment"
SCHEMA = pa.schema(
    [
        ("table", pa.string()), ("dataset", pa.string()), ("setting", pa.string()), ("seed", pa.int64()),
        ("row", pa.string()), ("kind", pa.string()), ("method", pa.string()), ("model", pa.string()),
        ("solver", pa.string()), ("share", pa.float64()), ("epoch", pa.float64()), ("validation_size", pa.int64()),
        ("auc", pa.float64()), ("ap", pa.float64()), ("relabel_all", pa.float64()), ("relabel_wrong", pa.float64()),
        ("seconds", pa.float64()), ("samples", pa.float64()), ("error", pa.string()), ("recipe", pa.string()),
        ("fingerprint", pa.string()), ("provenance", pa.string()),
    ]
)  # fmt: skip
"""Figures of detection and relabeling in percent; `epoch` of the checkpoint that a starred form chose; `error`: why the
cell has no figures; `recipe`: a digest that all rows of one file share; `fingerprint` of the training set;
`provenance`: JSON of the score file's and of the model's."""

FIGURE_COLUMNS: dict[str, tuple[str, ...]] = {
    "figure1": ("dataset", "seed", "model", "sample", "length", "true", "first", "second"),
    "figure2": ("dataset", "seed", "epoch", "series", "value"),
    "figure3": ("dataset", "seed", "step", "method", "auc", "low", "q1", "median", "q3", "high", "samples"),
}


@dataclass(frozen=True)
class Result:
    """A table or figure as it was measured: `key` of tables.WHAT, `frame`, and `about`: the preset, machine, version
    and datasets behind it."""

    key: str
    frame: pd.DataFrame
    about: dict[str, Any]


def result_path(folder: Path, key: str) -> Path:
    """Return FOLDER/KEY.parquet."""
    return folder / f"{key}.parquet"


def write_rows(folder: Path, key: str, rows: Sequence[Mapping[str, Any]], about: Mapping[str, Any]) -> None:
    """Write the rows of a table, atomically. Earlier rows of the same recipe stay if their dataset has not changed:
    a run with other seeds or datasets adds to them. Rows of another recipe go, for one table never mixes two."""
    fresh = pd.DataFrame(list(rows), columns=SCHEMA.names)
    merged = pd.concat([kept_rows(folder, key, fresh), fresh], ignore_index=True)
    order = {row.label: place for place, row in enumerate(TABLES[key].rows)}
    places = merged["row"].map(order).fillna(len(order))
    merged = merged.assign(place=places).sort_values(["dataset", "seed", "place", "share"], kind="stable")
    table = pa.Table.from_pandas(merged[SCHEMA.names], schema=SCHEMA, preserve_index=False)
    _write(result_path(folder, key), table, about)


def kept_rows(folder: Path, key: str, fresh: pd.DataFrame) -> pd.DataFrame:
    """Return the earlier rows that stand beside `fresh`: same recipe, datasets not changed, cells not made anew."""
    try:
        earlier = read_result(result_path(folder, key)).frame
    except DataError:
        return fresh.iloc[:0]
    earlier = earlier[earlier["recipe"].isin(set(fresh["recipe"]))]
    names = ["dataset", "seed", "row", "share"]
    again = pd.MultiIndex.from_frame(fresh[names])
    earlier = earlier[~pd.MultiIndex.from_frame(earlier[names]).isin(again)]
    now = dict(zip(zip(fresh["dataset"], fresh["seed"], strict=True), fresh["fingerprint"], strict=True))
    pairs = zip(earlier["dataset"], earlier["seed"], earlier["fingerprint"], strict=True)
    same = [now.get((dataset, seed), fingerprint) == fingerprint for dataset, seed, fingerprint in pairs]
    return earlier[same]


def write_figure(folder: Path, key: str, frame: pd.DataFrame, about: Mapping[str, Any]) -> None:
    """Write the numbers behind a figure (columns of FIGURE_COLUMNS), atomically; an earlier figure is replaced."""
    table = pa.Table.from_pandas(frame[list(FIGURE_COLUMNS[key])], preserve_index=False)
    _write(result_path(folder, key), table, about)


def _write(path: Path, table: pa.Table, about: Mapping[str, Any]) -> None:
    metadata = {ABOUT: json.dumps(dict(about), sort_keys=True).encode()}
    with atomic_write(path) as file:
        pq.write_table(table.replace_schema_metadata(metadata), file)


def read_result(path: Path | str) -> Result:
    """Return a table or figure.

    Raises:
        DataError: missing, damaged, or not of ours.
    """
    path = Path(path)
    key = path.stem
    try:
        table = pq.read_table(path)
        about = json.loads((table.schema.metadata or {})[ABOUT])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"result `{path}` cannot be read ({error}). Run the experiment again.") from error
    columns = set(FIGURE_COLUMNS.get(key, tuple(SCHEMA.names)))
    if key not in WHAT or not columns <= set(table.column_names):
        raise DataError(f"result `{path}` is not a table or figure of ours. Run the experiment again.")
    return Result(key, table.to_pandas(), about)


def read_results(folder: Path) -> dict[str, Result]:
    """Return every readable table and figure of a folder, in their order."""
    found = {}
    for key in WHAT:
        try:
            found[key] = read_result(result_path(folder, key))
        except DataError:
            continue
    return found


def list_experiments(workspace: Workspace) -> list[str]:
    """Return the names of the experiments with at least one table or figure, the last written first."""
    folders: dict[str, float] = {}
    for path in (workspace.root / FOLDER).glob("[!.]*/*.parquet"):
        if path.stem in WHAT:
            folders[path.parent.name] = max(folders.get(path.parent.name, 0.0), path.stat().st_mtime)
    return sorted(folders, key=lambda name: -folders[name])
