"""Parquet files with the images inside: plain binary, or Hugging Face's {bytes, path}; read by row group on demand."""

from __future__ import annotations

import hashlib
import json
import os
import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.identity import file_identity, file_stamp
from fvm_core.data.ids import path_ids, row_ids
from fvm_core.data.labels import encode_labels, parse_class_names
from fvm_core.data.tables import check_size, strings
from fvm_core.errors import DataError

MAX_GROUP_BYTES = 4 * 2**30
CACHE_BYTES = 64 * 2**20


@dataclass(frozen=True)
class ParquetColumns:
    """What a Parquet file offers: columns that can be images, columns that can be labels, names from its metadata."""

    images: tuple[str, ...]
    labels: tuple[str, ...]
    rows: int
    class_names: dict[str, tuple[str, ...]]


def open_parquet(spec: DatasetSpec) -> LabeledImages:
    """Open a file, or a folder of `*.parquet` shards in name order. Labels come to memory, images stay on disk.

    `spec.image` and `spec.label` may be empty when the file leaves no choice. Options: `class_names` (list or words
    with commas), `id` (a column with unique ids; else "<file stem>-<row>").

    Raises:
        DataError: not Parquet, no such column, no images, bad labels.
    """
    paths = parquet_files(spec.path)
    offered = parquet_columns(paths[0])
    image = spec.image or _only(offered.images, "image")
    label = spec.label or ("label" if "label" in offered.labels else _only(offered.labels, "label"))
    _require(image, offered.images, "image", paths[0])
    _require(label, offered.labels, "label", paths[0])
    if spec.clean_label:
        _require(spec.clean_label, offered.labels, "clean_label", paths[0])
    id_column = str(spec.options.get("id", ""))
    wanted = sorted({label, *filter(None, [spec.clean_label, id_column])})
    tables = [_read_columns(path, wanted) for path in paths]
    given = pa.chunked_array([chunk for table in tables for chunk in table[label].chunks], tables[0][label].type)
    clean = None
    if spec.clean_label:
        clean = pa.chunked_array(
            [c for t in tables for c in t[spec.clean_label].chunks], tables[0][spec.clean_label].type
        )
    names = parse_class_names(spec.options.get("class_names")) or offered.class_names.get(label)
    encoded = encode_labels(given, clean, names=names, what=label, clean_what=spec.clean_label or "clean_label")
    n = len(encoded.labels)
    notes: tuple[str, ...] = ()
    if id_column:
        named = [pc.fill_null(strings(table[id_column], id_column), "None") for table in tables]
        ids, notes = path_ids(pa.concat_arrays(named))
    else:
        ids = np.concatenate([row_ids(path.stem, table.num_rows) for path, table in zip(paths, tables, strict=True)])
    source = ParquetSource(paths, image)
    return LabeledImages(
        spec,
        ids,
        encoded.labels,
        encoded.names,
        source,
        np.arange(n, dtype=np.int64),
        encoded.clean,
        (*encoded.notes, *notes),
    )


def parquet_files(path: str | Path) -> list[Path]:
    """Return the file itself, or the `*.parquet` files of a folder sorted by name. Raises DataError for none."""
    root = Path(path).expanduser()
    found = sorted(root.glob("*.parquet")) if root.is_dir() else [root] if root.is_file() else []
    if not found:
        raise DataError(
            f"`path` must be a Parquet file or a folder with *.parquet files, got `{path}`. Check the path."
        )
    return found


def parquet_columns(path: str | Path) -> ParquetColumns:
    """Read only the footer of a Parquet file (or of the first shard of a folder) and say what can be chosen."""
    file = _open(parquet_files(path)[0])
    schema = file.schema_arrow
    images = tuple(field.name for field in schema if _is_image(field.type))
    labels = tuple(field.name for field in schema if _is_label(field.type))
    return ParquetColumns(images, labels, file.metadata.num_rows, _class_names(schema.metadata or {}, labels))


class ParquetSource:
    """Reads one image at a time; keeps the last row groups in memory, up to 64 MiB. Safe for threads and forks."""

    def __init__(self, paths: Sequence[Path], column: str) -> None:
        self.paths = tuple(paths)
        self.column = column
        kind = _open(self.paths[0]).schema_arrow.field(column).type
        self._leaf = f"{column}.bytes" if pa.types.is_struct(kind) else column
        groups, starts, start = [], [], 0
        for number, path in enumerate(self.paths):
            metadata = _open(path).metadata
            for group in range(metadata.num_row_groups):
                groups.append((number, group))
                starts.append(start)
                start += metadata.row_group(group).num_rows
        self._groups = groups
        self._starts = np.array(starts, dtype=np.int64)
        self._reset()

    def _reset(self) -> None:
        self._pid = os.getpid()
        self._lock = threading.Lock()
        self._files: dict[int, pq.ParquetFile] = {}
        self._cache: OrderedDict[int, pa.Array] = OrderedDict()
        self._held = 0

    def __getstate__(self) -> dict[str, Any]:
        return {key: value for key, value in self.__dict__.items() if key not in ("_lock", "_files", "_cache", "_pid")}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._reset()

    def read(self, row: int) -> bytes:
        """Return the encoded image of `row`. Raises DataError when it has none or its row group is damaged."""
        if self._pid != os.getpid():
            self._reset()
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        with self._lock:
            values = self._cache.get(number)
            if values is None:
                values = self._cache[number] = self._load(number)
                self._held += values.nbytes
                while len(self._cache) > 1 and self._held > CACHE_BYTES:
                    self._held -= self._cache.popitem(last=False)[1].nbytes
            self._cache.move_to_end(number)
        data = values[row - int(self._starts[number])].as_py()
        if not data:
            raise DataError(f"`{self.column}` holds no image bytes in row {row}. Store the bytes in the file.")
        return data

    def identity(self) -> str:
        return self._known_by(file_identity)

    def stamp(self) -> str:
        return self._known_by(file_stamp)

    def _known_by(self, name: Callable[[Path], str]) -> str:
        parts = [self.column, *(name(path) for path in self.paths)]
        return f"parquet:{hashlib.sha256(' '.join(parts).encode()).hexdigest()}"

    def _load(self, number: int) -> pa.Array:
        file_number, group = self._groups[number]
        path = self.paths[file_number]
        file = self._files.get(file_number)
        if file is None:
            if len(self._files) >= 16:
                self._files.clear()
            # Dictionary pages stay dictionaries: a few bytes that name one large value a million times stay few.
            file = self._files[file_number] = _open(path, [self._leaf])
        chunks = file.metadata.row_group(group)
        size = sum(
            chunks.column(index).total_uncompressed_size
            for index in range(chunks.num_columns)
            if chunks.column(index).path_in_schema.split(".")[0] == self.column
        )
        if size > MAX_GROUP_BYTES:
            raise DataError(
                f"a row group of `{path}` must hold at most {MAX_GROUP_BYTES >> 30} GiB of images, group {group} holds "
                f"{size / 2**30:.1f} GiB. Write the file again with a smaller row_group_size."
            )
        try:
            column = file.read_row_group(group, columns=[self.column], use_threads=False).column(0)
        except (pa.ArrowException, OSError) as error:
            raise DataError(f"row group {group} of `{path}` cannot be read ({error}). Copy the file anew.") from error
        array = column.chunk(0) if column.num_chunks == 1 else column
        if pa.types.is_struct(array.type):
            if isinstance(array, pa.ChunkedArray):
                return pa.chunked_array([chunk.field("bytes") for chunk in array.chunks])
            return array.field("bytes")
        return array


def _open(path: Path, dictionary: list[str] | None = None) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(path, read_dictionary=dictionary, pre_buffer=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"`{path}` cannot be read as Parquet ({error}). Copy the file anew.") from error


def _read_columns(path: Path, columns: list[str]) -> pa.Table:
    file = _open(path)
    missing = [name for name in columns if name not in file.schema_arrow.names]
    if missing:
        raise DataError(f"`{path}` has no column `{missing[0]}`; it has {file.schema_arrow.names}. Choose one of them.")
    check_size(file, columns, path)
    try:
        return file.read(columns=columns, use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DataError(f"`{path}` cannot be read ({error}). Copy the file anew.") from error


def _is_binary(kind: pa.DataType) -> bool:
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind) or pa.types.is_binary_view(kind))


def _is_image(kind: pa.DataType) -> bool:
    if pa.types.is_struct(kind):
        return kind.get_field_index("bytes") >= 0 and _is_binary(kind.field("bytes").type)
    return _is_binary(kind)


def _is_label(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(
        pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind)
        or pa.types.is_string(kind) or pa.types.is_large_string(kind)
    )  # fmt: skip


def _only(columns: tuple[str, ...], what: str) -> str:
    if len(columns) != 1:
        raise DataError(f"`{what}` must name a column; the file offers {list(columns) or 'none'}. Choose one of them.")
    return columns[0]


def _require(name: str, columns: tuple[str, ...], what: str, path: Path) -> None:
    if name not in columns:
        raise DataError(f"`{what}` must be one of the columns {list(columns)} of `{path}`, got {name!r}. Choose one.")


def _class_names(metadata: dict[bytes, bytes], labels: tuple[str, ...]) -> dict[str, tuple[str, ...]]:
    """Names for each label column: a `class_names` entry for all, or Hugging Face's ClassLabel features."""
    names = parse_class_names(metadata.get(b"class_names"))
    if names:
        return dict.fromkeys(labels, names)
    try:
        features = json.loads(metadata.get(b"huggingface", b"{}"))["info"]["features"]
        return {key: tuple(features[key]["names"]) for key in labels if "names" in features.get(key, {})}
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}
