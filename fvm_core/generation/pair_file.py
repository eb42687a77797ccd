"""Pairs in files: JSONL and Parquet with the columns `prompt`, `target` and, if known, `class`. No torch here."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.tables import check_size
from fvm_core.errors import DataError
from fvm_core.files import atomic_write
from fvm_core.generation.pairs import MAX_PAIRS, PairSet, text_pairs

SCHEMA = pa.schema(
    [
        ("id", pa.string()), ("prompt", pa.string()), ("target", pa.string()), ("class", pa.string()),
        ("wrong", pa.bool_()),
    ]
)  # fmt: skip
MAX_TEXT = 1 << 20
MAX_FILE = 4 << 30
ABOUT = b"fvm_pairs"


def read_pair_file(path: Path | str) -> PairSet:
    """Return the pairs of a .jsonl or .parquet file.

    Each row has `prompt` and `target`, both text; `class` (text) and `wrong` (true or false) may be left out, but then
    in every row. A file that `write_pair_file` made gives the same set again, ids and images included.

    Raises:
        DataError: another ending, no such file, a damaged row (named), a missing column, too large.
    """
    path = Path(path)
    if not path.is_file():
        raise DataError(f"there is no file `{path}`. Check the path.")
    if path.stat().st_size > MAX_FILE:
        raise DataError(f"`{path}` must have at most {MAX_FILE >> 30} GiB, but has {path.stat().st_size:,} bytes.")
    if path.suffix == ".parquet":
        return _from_parquet(path)
    if path.suffix in (".jsonl", ".ndjson"):
        rows = list(_json_rows(path))
        return _checked(path, {key: [row.get(key) for row in rows] for key in ("prompt", "target", "class", "wrong")})
    raise DataError(f"a file of pairs must end in .jsonl or .parquet, got `{path.name}`. Convert it.")


def write_pair_file(path: Path | str, pairs: PairSet) -> None:
    """Write the pairs as Parquet or JSONL, by the name's ending, atomically.

    Raises:
        DataError: another ending. StorageError: the disk refused.
    """
    path = Path(path)
    if path.suffix == ".jsonl":
        with atomic_write(path, "w", encoding="utf-8") as file:
            for row in range(len(pairs)):
                value = {"prompt": pairs.prompts[row], "target": pairs.targets[row]}
                if pairs.classes is not None:
                    value["class"] = pairs.classes[row]
                file.write(json.dumps(value, ensure_ascii=False) + "\n")
    elif path.suffix == ".parquet":
        about = json.dumps({"kind": pairs.kind, "root": pairs.root, "notes": list(pairs.notes)}).encode()
        columns = [pairs.ids, pairs.prompts, pairs.targets, pairs.classes, pairs.wrong]
        arrays = [
            pa.nulls(len(pairs), item.type) if column is None else pa.array(column, item.type)
            for column, item in zip(columns, SCHEMA, strict=True)
        ]
        with atomic_write(path) as file:
            pq.write_table(pa.table(arrays, schema=SCHEMA.with_metadata({ABOUT: about})), file, compression="zstd")
    else:
        raise DataError(f"a file of pairs must end in .jsonl or .parquet, got `{path.name}`. Choose another name.")


def _from_parquet(path: Path) -> PairSet:
    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in SCHEMA.names if name in file.schema_arrow.names]
            check_size(file, names, path)
            metadata = dict(file.schema_arrow.metadata or {})
            table = file.read(columns=names)
        columns = {name: table[name].to_pylist() for name in names}
        about = json.loads(metadata[ABOUT]) if ABOUT in metadata else None
    except (OSError, ValueError, pa.ArrowException) as error:
        raise DataError(f"`{path}` cannot be read as Parquet ({error}). Save it anew.") from error
    text = _checked(path, columns) if about is None or about.get("kind") == "text" else None
    if about is None:
        assert text is not None
        return text
    try:
        return PairSet(
            ids=tuple(columns["id"]),
            prompts=tuple(columns["prompt"]),
            targets=tuple(columns["target"]),
            kind=str(about["kind"]),
            classes=_all_or_none(columns["class"]),
            wrong=_all_or_none(columns["wrong"]),
            root=str(about.get("root", "")),
            notes=tuple(about.get("notes", ())),
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise DataError(f"`{path}` is no whole set of pairs of ours ({error!r}). Make it again.") from error


def _json_rows(path: Path) -> Iterator[dict[str, Any]]:
    try:
        with path.open(encoding="utf-8-sig") as file:
            for number, line in enumerate(file, 1):
                if not line.strip():
                    continue
                if number > MAX_PAIRS:
                    raise DataError(f"`{path}` must have at most {MAX_PAIRS:,} lines. Split it.")
                try:
                    value = json.loads(line)
                except (ValueError, RecursionError) as error:
                    raise DataError(f"line {number} of `{path}` must be JSON ({error}). Correct it.") from error
                if not isinstance(value, dict):
                    raise DataError(
                        f'line {number} of `{path}` must be an object such as {{"prompt": "...", "target": "..."}}, '
                        f"got {line.strip():.60}. Correct it."
                    )
                yield value
    except UnicodeDecodeError as error:
        raise DataError(f"`{path}` must be UTF-8 text ({error}). Save it anew.") from error


def _checked(path: Path, columns: dict[str, list[Any]]) -> PairSet:
    """Return the set of text pairs in these columns. Raises DataError naming row and column."""
    for name in ("prompt", "target"):
        if name not in columns or not any(value is not None for value in columns[name]):
            raise DataError(f"`{path}` must have `prompt` and `target` in every row, but has no `{name}`. Rename it.")
        _require(path, name, columns[name], str, "text")
    classes, wrong = (_all_or_none(columns.get(name, [])) for name in ("class", "wrong"))
    if classes is not None:
        _require(path, "class", classes, str, "text, in every row or in none")
    if wrong is not None:
        _require(path, "wrong", wrong, bool, "true or false, in every row or in none")
    return text_pairs(columns["prompt"], columns["target"], classes=classes, wrong=wrong)


def _require(path: Path, name: str, values: Sequence[Any], kind: type, rule: str) -> None:
    for row, value in enumerate(values):
        if not isinstance(value, kind) or (isinstance(value, str) and len(value) > MAX_TEXT):
            raise DataError(
                f"`{name}` must be {rule}, got {value!r:.60} in row {row} of `{path}` (from 0). Correct it."
            )


def _all_or_none(values: Sequence[Any]) -> tuple[Any, ...] | None:
    return tuple(values) if any(value is not None for value in values) else None
