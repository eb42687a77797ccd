"""Columns of integers or words become class indices; everything that is wrong with them is named by row."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN
from fvm_core.errors import DataError


@dataclass(frozen=True)
class Labels:
    """`labels` (n,) int64 in [0, c); `clean` the same with UNKNOWN where not known, or None; `names` (c,)."""

    labels: NDArray[np.int64]
    clean: NDArray[np.int64] | None
    names: tuple[str, ...]
    notes: tuple[str, ...] = ()


def encode_labels(
    labels: Any,
    clean: Any = None,
    *,
    names: Sequence[str] | None = None,
    what: str = "label",
    clean_what: str = "clean_label",
) -> Labels:
    """Turn label columns (arrow, NumPy or a list; integers, booleans or words) into class indices.

    With `names`, integers must lie in [0, len(names)) and words must be among them. Without, words are sorted, and
    integers that are not 0..c-1 are renumbered in order, their values becoming the names; a note says so. A missing
    clean label, or -1, is UNKNOWN; a missing given label is an error. Rows in messages count from 0.

    >>> encode_labels([0, 7, 2]).names
    ('0', '2', '7')

    Raises:
        DataError: no rows, missing labels, labels out of range or not among the names, fractions, more classes than
            a label column has.
    """
    given = _column(labels, what)
    if len(given) == 0:
        raise DataError(f"dataset must have at least one sample, but column `{what}` has no rows. Choose another file.")
    absent = _missing(given)
    if absent.any():
        raise DataError(f"`{what}` must be set for every sample, but is missing in {_rows(absent)}. Fill or drop them.")
    truth = None if clean is None else _column(clean, clean_what)
    if truth is not None and len(truth) != len(given):
        raise DataError(f"`{clean_what}` must be as long as `{what}` ({len(given)}), got {len(truth)}.")
    if truth is not None and _is_text(truth) != _is_text(given):
        given, truth = given.cast(pa.string()), truth.cast(pa.string())
    notes: tuple[str, ...] = ()
    if names is None:
        names, codes, notes = _invent_names(given, truth, what)
        unique_names: tuple[str, ...] = tuple(names)
        given_codes, truth_codes = codes
    else:
        unique_names = _check_names(names)
        given_codes = _match(given, unique_names, what, unknown_ok=False)
        truth_codes = None if truth is None else _match(truth, unique_names, clean_what, unknown_ok=True)
    return Labels(given_codes, truth_codes, unique_names, notes)


def parse_class_names(value: Any) -> tuple[str, ...] | None:
    """Read class names from a list, a JSON list, or words separated by commas; None when there are none."""
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        text = value.strip()
        if text.startswith("["):
            try:
                value = json.loads(text)
            except ValueError as error:
                raise DataError(
                    f"`class_names` must be a JSON list or words with commas, got {text[:80]!r}."
                ) from error
        else:
            value = [word.strip() for word in text.split(",")] if text else []
    return _check_names([str(name) for name in value]) if value else None


def _check_names(names: Sequence[str]) -> tuple[str, ...]:
    seen: set[str] = set()
    for name in names:
        if not name or name in seen:
            raise DataError(f"`class_names` must be distinct and not empty, got {name!r} twice or empty. Correct them.")
        seen.add(name)
    return tuple(names)


def _column(values: Any, what: str) -> pa.Array:
    """Return an int64 or string array without chunks; NaN counts as missing."""
    if isinstance(values, pa.ChunkedArray):
        values = values.combine_chunks() if values.num_chunks != 1 else values.chunk(0)
    try:
        array = values if isinstance(values, pa.Array) else pa.array(values, from_pandas=True)
        if pa.types.is_dictionary(array.type):
            array = array.dictionary_decode()
        kind = array.type
        if pa.types.is_floating(kind):
            if pa.types.is_float16(kind):
                array = array.cast(pa.float32())
            array = pc.if_else(pc.is_nan(array), pa.scalar(None, array.type), array)
            return array.cast(pa.int64())
        if pa.types.is_integer(kind):
            return array.cast(pa.int64())
        if pa.types.is_boolean(kind) or pa.types.is_null(kind):
            return array.cast(pa.string())
        if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            return array.cast(pa.string())
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, pa.ArrowTypeError, OverflowError) as error:
        raise DataError(f"`{what}` must hold whole numbers or words ({error}). Choose another column.") from error
    raise DataError(f"`{what}` must hold whole numbers or words, got {kind}. Choose another column.")


def _is_text(array: pa.Array) -> bool:
    return bool(pa.types.is_string(array.type))


def _missing(array: pa.Array) -> NDArray[np.bool_]:
    absent = array.is_null()
    if _is_text(array):
        absent = pc.or_(absent, pc.fill_null(pc.equal(pc.utf8_trim_whitespace(array), ""), True))
    return absent.to_numpy(zero_copy_only=False)


def _rows(mask: NDArray[np.bool_]) -> str:
    rows = np.flatnonzero(mask)
    shown = ", ".join(str(row) for row in rows[:5])
    return f"row {shown}" if len(rows) == 1 else f"{len(rows):,} rows ({shown}{', ...' if len(rows) > 5 else ''})"


def _match(array: pa.Array, names: tuple[str, ...], what: str, *, unknown_ok: bool) -> NDArray[np.int64]:
    c = len(names)
    absent = _missing(array)
    if _is_text(array):
        codes = (
            pc.index_in(array, value_set=pa.array(names, pa.string())).fill_null(UNKNOWN).to_numpy().astype(np.int64)
        )
        if (codes == UNKNOWN).all() and not absent.all():
            digits = pc.match_substring_regex(array, r"^\d{1,9}$").fill_null(True)
            if pc.all(digits).as_py():
                numbers = pc.if_else(pa.array(absent), pa.scalar(None, pa.string()), array).cast(pa.int64())
                return _match(numbers, names, what, unknown_ok=unknown_ok)
        wrong = (codes == UNKNOWN) & ~absent
        rule = f"one of the {c} class names"
    else:
        codes = array.fill_null(UNKNOWN).to_numpy()
        wrong = ((codes < 0) | (codes >= c)) & ~absent
        rule = f"0 <= label < {c} (the number of class names)"
        if unknown_ok:
            wrong &= codes != UNKNOWN
    if wrong.any():
        first = array[int(np.flatnonzero(wrong)[0])].as_py()
        raise DataError(
            f"`{what}` must be {rule}, got {first!r} in {_rows(wrong)}. Correct the labels or the class names."
        )
    return np.array(codes, dtype=np.int64)


def _invent_names(
    given: pa.Array, truth: pa.Array | None, what: str
) -> tuple[list[str], tuple[NDArray[np.int64], NDArray[np.int64] | None], tuple[str, ...]]:
    values = pc.unique(given)
    if truth is not None:
        known = truth.filter(pa.array(~_missing(truth)))
        if not _is_text(truth):
            known = known.filter(pc.not_equal(known, UNKNOWN))
        values = pc.unique(pa.concat_arrays([values, known]))
    n, c = len(given), len(values)
    if n >= 100 and c > n // 2:
        raise DataError(f"`{what}` must hold classes, but has {c:,} different values in {n:,} rows. Choose its column.")
    if _is_text(given):
        words = values.to_pylist()
        numeric = all(word.isascii() and word.isdigit() and len(word) < 10 for word in words)
        names = sorted(words, key=int) if numeric else sorted(words)
        codes = _match(given, tuple(names), what, unknown_ok=False)
        truth_codes = None if truth is None else _match(truth, tuple(names), what, unknown_ok=True)
        return names, (codes, truth_codes), ()
    numbers = np.sort(values.to_numpy())
    if numbers[0] < 0:
        wrong = given.to_numpy() < 0
        raise DataError(f"`{what}` must be >= 0, got {numbers[0]} in {_rows(wrong)}. Correct or drop these rows.")
    notes: tuple[str, ...] = ()
    if numbers[-1] != c - 1:
        shown = ", ".join(str(number) for number in numbers[:8]) + (", ..." if c > 8 else "")
        notes = (
            f"Labels are not 0..{c - 1}: the {c} values {shown} were renumbered in order and kept as class names.",
        )
    codes = np.searchsorted(numbers, given.to_numpy()).astype(np.int64)
    if truth is None:
        return [str(number) for number in numbers], (codes, None), notes
    raw = truth.fill_null(UNKNOWN).to_numpy()
    truth_codes = np.where(raw == UNKNOWN, UNKNOWN, np.searchsorted(numbers, raw)).astype(np.int64)
    return [str(number) for number in numbers], (codes, truth_codes), notes
