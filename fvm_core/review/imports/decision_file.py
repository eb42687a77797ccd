"""Decisions as other tools and other reviews hand them over: one table that `import_decisions` takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.spreadsheet import GUARD, unguarded
from fvm_core.data.tables import read_table, strings, table_columns
from fvm_core.errors import ReviewError
from fvm_core.review.imports.cleanlab_table import is_issue_table, read_issue_table
from fvm_core.review.imports.label_studio import read_label_studio

TEXTS = ("id", "action", "reviewer", "decided_at", "method", "score_provenance", "dataset_fingerprint")
NUMBERS = ("label", "score", "suggested")
KINDS = ("csv", "parquet", "json")


def read_decisions(path: Path | str, dataset: LabeledImages) -> pd.DataFrame:
    """Return the decisions in a file: labels exported from a review (CSV, Parquet), cleanlab's issue table (its label
    issues) or Label Studio's JSON (its answered tasks), with at least the columns id, label and action.

    Where the file names no action, a label that is the given one is kept and another one picked.

    Raises:
        DataError: no table, or tasks and issues of another dataset. ReviewError: columns are missing.
    """
    if Path(path).suffix.lower() == ".json":
        return _judged(read_label_studio(path, dataset), dataset)
    if is_issue_table(path):
        return _judged(read_issue_table(path, dataset), dataset)
    return read_exported(path)


def read_exported(path: Path | str) -> pd.DataFrame:
    """Return the rows of exported labels, CSV or Parquet of `fvm_core.review.export`, in TEXTS and NUMBERS.

    Raises:
        DataError: no table. ReviewError: columns are missing.
    """
    columns = table_columns(path)
    missing = {*TEXTS, *NUMBERS} - set(columns)
    if missing:
        raise ReviewError(f"`{path}` must be labels exported from a review, but lacks {sorted(missing)}. Export again.")
    table = read_table(path, [*TEXTS, *NUMBERS, *(name for name in (GUARD,) if name in columns)], text=[*TEXTS, GUARD])
    marks = strings(table[GUARD], GUARD) if GUARD in table.column_names else None
    frame = table.select(list(NUMBERS)).to_pandas()
    for name in TEXTS:
        frame[name] = unguarded(strings(table[name], name), marks, path=str(path)).to_pylist()
    return frame


def _judged(frame: pd.DataFrame, dataset: LabeledImages) -> pd.DataFrame:
    """Return `frame` (id, label) with the action that each label comes to."""
    given = pd.Series(dataset.labels, index=dataset.ids).reindex(frame["id"]).to_numpy()
    return frame.assign(action=np.where(frame["label"].to_numpy() == given, "keep", "pick"))
