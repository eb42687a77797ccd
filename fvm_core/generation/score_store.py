"""Scores of pairs in the workspace: files that are written once and read by columns. No torch here: pages read it.

`scores/RUN/` holds training.parquet (id, prompt, target, class, wrong, loss, and suspicion_METHOD for each method and
for the loss, large = likely wrong), validation.parquet (id, prompt, target, class, wrong, loss) and METHOD.parquet (id
of the training pair, then one float32 column for each validation pair, named by its id: positive = the training pair
speaks for it). Each carries the run's provenance. `answers/KEY/` holds answer.json and scores.parquet of one prompt
that was asked (see `ask_job`).
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

from fvm_core.data.tables import check_size
from fvm_core.errors import DataError
from fvm_core.files import atomic_write, read_json, slug
from fvm_core.generation.settings import METHODS
from fvm_core.generation.store import generation_folder
from fvm_core.workspace import Workspace

PROVENANCE = b"fvm_generation"
TRAINING, VALIDATION = "training", "validation"
TITLES = {"lora": "LoRA", "vm": "VM", "fvm": "FVM", "base": "Base"}


@dataclass(frozen=True)
class ScoreRun:
    """One run: the scores of one tuned model. `methods`: those that are there, keys of METHODS. `title`: its role."""

    name: str
    methods: tuple[str, ...]
    provenance: dict[str, Any]

    @property
    def kind(self) -> str:
        """text or image."""
        return str(self.provenance.get("kind", "text"))

    @property
    def root(self) -> str:
        """The folder that image targets lie in, for training pairs; empty for text."""
        return str(self.provenance.get("root", ""))


def run_folder(workspace: Workspace, run: str) -> Path:
    """Return generation/scores/RUN. Raises DataError when `run` is no slug."""
    if not run or slug(run) != run:
        raise DataError(f"`run` must be a name of a-z, 0-9, - and _, got {run!r}. Choose one by its name.")
    return generation_folder(workspace, "scores", run)


def list_score_runs(workspace: Workspace) -> dict[str, ScoreRun]:
    """Return every readable run by name, sorted."""
    found = {}
    for folder in sorted(generation_folder(workspace, "scores").glob("[!.]*")):
        try:
            found[folder.name] = read_run(workspace, folder.name)
        except DataError:
            continue
    return found


def read_run(workspace: Workspace, run: str) -> ScoreRun:
    """Return what a run holds; only footers are read. Raises DataError when it is not there or damaged."""
    folder = run_folder(workspace, run)
    provenance = _provenance(folder / f"{TRAINING}.parquet")
    methods = tuple(method for method in METHODS if (folder / f"{method}.parquet").is_file())
    return ScoreRun(run, methods, provenance)


def read_samples(workspace: Workspace, run: str, part: str) -> pd.DataFrame:
    """Return the training or validation pairs of a run, in order (see above for the columns).

    Raises:
        DataError: not there, damaged or too large.
    """
    return _read(run_folder(workspace, run) / f"{part}.parquet").to_pandas()


def read_matrix(workspace: Workspace, run: str, method: str) -> NDArray[np.float32]:
    """Return all scores (n, v) of a method, rows as in training.parquet, columns as in validation.parquet.

    Raises:
        DataError: not there or damaged.
    """
    table = _read(run_folder(workspace, run) / f"{method}.parquet")
    return np.stack([column.to_numpy() for column in table.columns[1:]], axis=1)


def read_column(workspace: Workspace, run: str, method: str, validation_id: str) -> NDArray[np.float32]:
    """Return the scores (n,) of all training pairs for one validation pair; nothing else of the file is read.

    Raises:
        DataError: not there or damaged, or no such validation pair.
    """
    path = run_folder(workspace, run) / f"{method}.parquet"
    _provenance(path)
    if validation_id not in pq.read_schema(path).names[1:]:
        raise DataError(f"scores `{path}` hold no validation pair {validation_id!r}. Choose one of its own.")
    return _read(path, [validation_id]).column(0).to_numpy()


def write_run(
    workspace: Workspace,
    run: str,
    training: pd.DataFrame,
    validation: pd.DataFrame,
    matrices: Mapping[str, NDArray[np.floating]],
    provenance: Mapping[str, Any],
) -> Path:
    """Write a run; a run of the same name loses its earlier files. Returns its folder. Raises StorageError."""
    folder = run_folder(workspace, run)
    for method in METHODS:
        if method not in matrices:
            (folder / f"{method}.parquet").unlink(missing_ok=True)
    ids = [str(one) for one in validation["id"]]
    for method, matrix in matrices.items():
        columns = {one: pa.array(np.asarray(matrix[:, place], np.float32)) for place, one in enumerate(ids)}
        table = pa.table({"id": pa.array(training["id"].astype(str)), **columns})
        write_table(folder / f"{method}.parquet", table, provenance)
    write_table(folder / f"{VALIDATION}.parquet", pa.Table.from_pandas(validation, preserve_index=False), provenance)
    write_table(folder / f"{TRAINING}.parquet", pa.Table.from_pandas(training, preserve_index=False), provenance)
    return folder


def write_table(path: Path, table: pa.Table, provenance: Mapping[str, Any]) -> None:
    """Write a table with provenance in its footer, atomically."""
    metadata = {PROVENANCE: json.dumps(dict(provenance), sort_keys=True).encode()}
    with atomic_write(path) as file:
        pq.write_table(table.replace_schema_metadata(metadata), file, compression="zstd")


def method_title(run: ScoreRun, method: str) -> str:
    """Return what a person calls these scores: VM, FVM, TracIn, DataInf, as in Tables 4 and 5; where a method is
    applied to another model than the paper's, with that model's role.

    >>> method_title(ScoreRun("a", (), {"model": {"role": "fvm"}}), "influence")
    'FVM'
    """
    role = str(run.provenance.get("model", {}).get("role", ""))
    own = TITLES.get(role, role)
    if method == "influence":
        return own if role in ("vm", "fvm") else f"Eq. 20 · {own}"
    return METHODS[method] if role == "lora" else f"{METHODS[method]} · {own}"


def answer_folder(workspace: Workspace, key: str) -> Path:
    """Return generation/answers/KEY. Raises DataError when `key` is no slug."""
    if not key or slug(key) != key:
        raise DataError(f"`key` must be a name of a-z, 0-9, - and _, got {key!r}. Ask again.")
    return generation_folder(workspace, "answers", key)


def read_answer(workspace: Workspace, key: str) -> tuple[dict[str, Any], pd.DataFrame]:
    """Return what an asked prompt gave: answer.json, and a frame of the training pairs: id, prompt, target, class and
    one column of scores for each method.

    Raises:
        DataError: not there or damaged.
    """
    folder = answer_folder(workspace, key)
    about = read_json(folder / "answer.json", what="the answer")
    return about, _read(folder / "scores.parquet").to_pandas()


def _provenance(path: Path) -> dict[str, Any]:
    try:
        value = json.loads((pq.read_schema(path).metadata or {})[PROVENANCE])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise DataError(f"scores `{path}` cannot be read ({error!s:.200}). Score these pairs again.") from error
    if not isinstance(value, dict):
        raise DataError(f"scores `{path}` carry no provenance of ours. Score these pairs again.")
    return value


def _read(path: Path, columns: list[str] | None = None) -> pa.Table:
    _provenance(path)
    try:
        with pq.ParquetFile(path) as file:
            check_size(file, columns or file.schema_arrow.names, path)
            return file.read(columns=columns)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"scores `{path}` cannot be read ({error}). Score these pairs again.") from error
