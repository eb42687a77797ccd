"""CSV that a spreadsheet shows as it is: no id or class name of a person's data becomes a formula."""

from __future__ import annotations

import csv

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from fvm_core.errors import DataError

GUARD = "formula_guard"
MARK = "apostrophe"
_FORMULA = r"^(?:\s*[=+\-@\uff1d\uff0b\uff0d\uff20]|[\t\r\n])"
_MARKED = rf"{_FORMULA}|^'"


def guarded(frame: pd.DataFrame) -> pd.DataFrame:
    """Return `frame` for a CSV: a text that a spreadsheet would take for a formula gets an apostrophe before it.

    Formulas start with = + - @ (also in full width, also after white space), a tab or a line break. If there is one,
    texts that start with an apostrophe get one more, and a last column GUARD says so: `unguarded` then gives back
    exactly what was there. Without one `frame` comes back as it is. Numbers stay numbers. Sources: OWASP, "CSV
    injection".

    >>> guarded(pd.DataFrame({"id": ["=1+1", "'tis", "cat"]})).values.tolist()
    [["'=1+1", 'apostrophe'], ["''tis", 'apostrophe'], ['cat', 'apostrophe']]
    >>> guarded(pd.DataFrame({"id": ["'tis", "cat"]})).columns.tolist()
    ['id']
    """
    texts = {name: frame[name] for name in frame.columns if not pd.api.types.is_numeric_dtype(frame[name])}
    if not any(_matches(column, _FORMULA).any() for column in texts.values()):
        return frame
    changed = {}
    for name, column in texts.items():
        values = column.astype(object).to_numpy(copy=True)
        values[_matches(column, _MARKED)] = "'" + values[_matches(column, _MARKED)]
        changed[name] = values
    return frame.assign(**changed, **{GUARD: MARK})


def csv_text(frame: pd.DataFrame) -> str:
    """Return `guarded(frame)` as CSV with a header; every text in quotes, so that no character of it ends a cell."""
    return guarded(frame).to_csv(index=False, quoting=csv.QUOTE_NONNUMERIC, lineterminator="\n")


def unguarded(values: pa.Array, marks: pa.Array | None, *, path: str) -> pa.Array:
    """Return texts as they were before `guarded`; `marks` is the file's GUARD column, or None if it has none.

    Raises:
        DataError: a mark that `guarded` does not set.
    """
    if marks is None:
        return values
    strange = [mark for mark in pc.unique(marks).to_pylist() if mark not in (MARK, "", None)]
    if strange:
        raise DataError(
            f"`{GUARD}` in `{path}` must be {MARK!r} or empty, got {strange[0]!r:.100}. Export the file anew."
        )
    guards = pc.and_(pc.fill_null(pc.equal(marks, MARK), False), pc.fill_null(pc.starts_with(values, "'"), False))
    return pc.if_else(guards, pc.utf8_slice_codeunits(values, 1), values)


def _matches(column: pd.Series, pattern: str) -> np.ndarray:
    texts = column.map(lambda value: value if isinstance(value, str) else "").astype(object)
    return texts.str.contains(pattern, regex=True).to_numpy(bool)
