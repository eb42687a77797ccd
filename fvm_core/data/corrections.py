"""Lays labels that a person corrected on the Review page over a dataset's given ones."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.spreadsheet import GUARD, unguarded
from fvm_core.data.subset import choose_rows
from fvm_core.data.tables import read_table, strings, table_columns
from fvm_core.errors import DataError

FINGERPRINT = "dataset_fingerprint"
BEFORE = "corrections_before"
CHECK = "corrections_check"


def with_corrections(spec: DatasetSpec, path: str) -> DatasetSpec:
    """Return `spec` with one more corrections file on top; those it has already stay below, in order."""
    if not spec.corrections:
        return replace(spec, corrections=path)
    before = [*spec.options.get(BEFORE, ()), spec.corrections]
    return replace(spec, corrections=path, options={**spec.options, BEFORE: before})


def apply_corrections(dataset: LabeledImages) -> LabeledImages:
    """Return `dataset` with the labels of `spec.corrections` (CSV or Parquet) in place of its own, matched by id.

    The file needs `id` and `label` (class index) or `name` (class name); ids it leaves out keep their label. Its
    `dataset_fingerprint` must be this dataset's, or that of the rows that include/exclude choose. A column
    `formula_guard` says that texts were marked for spreadsheets (`fvm_core.data.spreadsheet`). Options:
    `corrections_before` (list of files laid below it first), `corrections_check` = "ids" skips the fingerprint.

    Raises:
        DataError: no table, no id column, ids that repeat or are not in the dataset, labels or class names that are
            not the dataset's, a file that was made for another dataset.
    """
    spec = dataset.spec
    for path in (*spec.options.get(BEFORE, ()), spec.corrections):
        dataset = _lay(dataset, str(path))
    return dataset


def _lay(dataset: LabeledImages, path: str) -> LabeledImages:
    columns = table_columns(path)
    if "id" not in columns or not {"label", "name"} & set(columns):
        raise DataError(
            f"corrections `{path}` must have the columns `id` and `label` or `name`, got {list(columns)}. "
            "Export them from the Review page."
        )
    wanted = [column for column in ("id", "label", "name", FINGERPRINT, GUARD) if column in columns]
    table = _without_guard(read_table(path, wanted, text=["id", "name", FINGERPRINT, GUARD]), path)
    ids = strings(table["id"], "id")
    notes = _check_fingerprint(dataset, path, table)
    places = _places(dataset, path, ids)
    labels = dataset.labels.copy()
    labels[places] = _labels(dataset, path, table)
    changed = int((labels != dataset.labels).sum())
    notes = (*dataset.notes, *notes, f"{changed:,} labels were changed by the corrections `{path}`.")
    return replace(dataset, labels=labels, notes=notes)


def _without_guard(table: pa.Table, path: str) -> pa.Table:
    """Take away the apostrophes that keep a spreadsheet from computing ids and names."""
    if GUARD not in table.column_names:
        return table
    marks = strings(table[GUARD], GUARD)
    for name in {"id", "name"} & set(table.column_names):
        texts = unguarded(strings(table[name], name), marks, path=path)
        table = table.set_column(table.column_names.index(name), name, texts)
    return table


def _check_fingerprint(dataset: LabeledImages, path: str, table: pa.Table) -> tuple[str, ...]:
    if dataset.spec.options.get(CHECK, "fingerprint") == "ids":
        return ()
    if FINGERPRINT not in table.column_names:
        return (f"The corrections `{path}` do not say for which dataset they were made; only ids were compared.",)
    found = [value for value in pc.unique(table[FINGERPRINT]).to_pylist() if value]
    known = {dataset.fingerprint}
    if dataset.spec.include or dataset.spec.exclude:
        known.add(choose_rows(dataset, include=dataset.spec.include, exclude=dataset.spec.exclude).fingerprint)
    strange = [value for value in found if value not in known]
    if strange:
        raise DataError(
            f"corrections `{path}` must be made for this dataset ({dataset.fingerprint[:12]}), but were made for "
            f"another ({strange[0][:12]}). Choose the dataset that was reviewed, or set `corrections_check` to 'ids'."
        )
    return ()


def _places(dataset: LabeledImages, path: str, ids: pa.Array) -> NDArray[np.int64]:
    found = pc.index_in(ids, value_set=pa.array(dataset.ids.tolist(), pa.string()))
    unknown = found.is_null().to_numpy(zero_copy_only=False)
    if unknown.any():
        raise DataError(
            f"corrections `{path}` must name ids of the dataset, but {int(unknown.sum()):,} are not in it, such as "
            f"{ids[int(np.flatnonzero(unknown)[0])].as_py()!r}. Choose the dataset that was reviewed."
        )
    places = found.to_numpy().astype(np.int64)
    values, counts = np.unique(places, return_counts=True)
    if (counts > 1).any():
        twice = str(dataset.ids[values[counts > 1][0]])
        raise DataError(f"corrections `{path}` must name each id once, got {twice!r} again. Export them anew.")
    return places


def _labels(dataset: LabeledImages, path: str, table: pa.Table) -> NDArray[np.int64]:
    c = dataset.num_classes
    by_name: NDArray[np.int64] | None = None
    by_label: NDArray[np.int64] | None = None
    if "name" in table.column_names:
        names = strings(table["name"], "name")
        codes = pc.index_in(names, value_set=pa.array(dataset.class_names, pa.string())).fill_null(-1).to_numpy()
        if (codes < 0).any():
            row = int(np.flatnonzero(codes < 0)[0])
            raise DataError(
                f"`name` in corrections `{path}` must be one of {list(dataset.class_names)}, got "
                f"{names[row].as_py()!r} in row {row}. Use the class names of the dataset."
            )
        by_name = codes.astype(np.int64)
    if "label" in table.column_names:
        try:
            codes = pa.concat_arrays([part.cast(pa.int64()) for part in table["label"].chunks]).fill_null(-1).to_numpy()
        except pa.ArrowException as error:
            raise DataError(
                f"`label` in corrections `{path}` must hold class numbers ({error}). Correct it."
            ) from error
        wrong = (codes < 0) | (codes >= c)
        if wrong.any():
            row = int(np.flatnonzero(wrong)[0])
            raise DataError(f"`label` in corrections `{path}` must be 0 to {c - 1}, got {codes[row]} in row {row}.")
        by_label = codes
    if by_name is not None and by_label is not None and (by_name != by_label).any():
        row = int(np.flatnonzero(by_name != by_label)[0])
        raise DataError(
            f"`label` and `name` in corrections `{path}` must agree, got {by_label[row]} "
            f"({dataset.class_names[by_label[row]]!r}) and {dataset.class_names[by_name[row]]!r} in row {row}. "
            "The classes of the dataset have another order: choose the dataset that was reviewed."
        )
    chosen = by_label if by_label is not None else by_name
    return np.array(chosen, dtype=np.int64)
