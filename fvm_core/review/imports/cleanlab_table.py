"""cleanlab's table of label issues, read back as corrected labels."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.data.spreadsheet import GUARD, unguarded
from fvm_core.data.tables import read_table, strings, table_columns
from fvm_core.errors import DataError

COLUMNS = ("is_label_issue", "given_label", "predicted_label")


def is_issue_table(path: Path | str) -> bool:
    """Return whether a CSV or Parquet table has cleanlab's columns. Raises DataError when it is no table."""
    return set(COLUMNS) <= set(table_columns(path))


def read_issue_table(path: Path | str, dataset: LabeledImages) -> pd.DataFrame:
    """Return the columns id and label (class number) of the samples that the table calls a label issue.

    A column `id` names the samples. Without one (as cleanlab itself writes it) row k is sample k; then there must be a
    row for each sample and `given_label` must be the dataset's throughout. Labels are class numbers or names.

    Raises:
        DataError: no such columns, labels that are not the dataset's, rows that do not fit it.
    """
    columns = table_columns(path)
    missing = set(COLUMNS) - set(columns)
    if missing:
        raise DataError(f"`{path}` must have cleanlab's columns {list(COLUMNS)}, but lacks {sorted(missing)}.")
    wanted = [*COLUMNS, *(name for name in ("id", GUARD) if name in columns)]
    table = read_table(path, wanted, text=["id", "given_label", "predicted_label", GUARD])
    marks = strings(table[GUARD], GUARD) if GUARD in table.column_names else None
    given, predicted = (
        _codes(unguarded(strings(table[name], name), marks, path=str(path)).to_pylist(), dataset, name, path)
        for name in COLUMNS[1:]
    )
    issue = pc.fill_null(table["is_label_issue"].cast("bool"), False).to_numpy().astype(bool)
    if "id" in columns:
        ids = np.array(unguarded(strings(table["id"], "id"), marks, path=str(path)).to_pylist(), dtype=object)
        places = pd.Index(dataset.ids.tolist()).get_indexer(pd.Index(ids))
        if (places < 0).any():
            strange = ids[int(np.flatnonzero(places < 0)[0])]
            raise DataError(f"`id` in `{path}` must be an id of the dataset, got {strange!r:.100}. Choose its dataset.")
    elif len(given) != len(dataset):
        raise DataError(
            f"`{path}` must have a row for each of the {len(dataset):,} samples, for it has no column `id`, but has "
            f"{len(given):,}. Choose the dataset that cleanlab saw, or add the ids."
        )
    else:
        ids, places = dataset.ids.astype(object), np.arange(len(dataset))
    wrong = np.flatnonzero(dataset.labels[places] != given)
    if len(wrong):
        raise DataError(
            f"`given_label` in `{path}` must be the label of the dataset, but is another in {len(wrong):,} rows "
            f"(first: row {wrong[0]}). Choose the dataset that cleanlab saw."
        )
    return pd.DataFrame({"id": ids[issue], "label": predicted[issue]})


def _codes(values: list[str], dataset: LabeledImages, what: str, path: Path | str) -> NDArray[np.int64]:
    places = {name: code for code, name in enumerate(dataset.class_names)}
    if not all(value in places for value in set(values)):
        places = {str(code): code for code in range(dataset.num_classes)}
    codes = np.array([places.get(value, -1) for value in values], dtype=np.int64)
    if (codes < 0).any():
        strange = values[int(np.flatnonzero(codes < 0)[0])]
        raise DataError(
            f"`{what}` in `{path}` must be a class of the dataset (its name, or 0 to {dataset.num_classes - 1}), got "
            f"{strange!r:.100}. Choose the dataset that cleanlab saw."
        )
    return codes
