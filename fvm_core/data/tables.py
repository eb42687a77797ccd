"""CSV, TSV and Parquet tables by column: manifests and corrected labels."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.csv as csv
import pyarrow.parquet as pq

from fvm_core.errors import DataError

MAX_ROWS = 50_000_000
MAX_COLUMNS_BYTES = 4 * 2**30


def check_size(file: pq.ParquetFile, columns: Sequence[str], path: Path | str) -> None:
    """Look at the footer alone: run-length coding can name a billion rows in a few hundred bytes.

    Raises:
        DataError: more than MAX_ROWS rows, or `columns` (top-level names) take more than MAX_COLUMNS_BYTES unpacked.
    """
    footer = file.metadata
    if footer.num_rows > MAX_ROWS:
        raise DataError(
            f"`{path}` must have at most {MAX_ROWS:,} rows, but says it has {footer.num_rows:,}. Split the file."
        )
    groups = [footer.row_group(group) for group in range(footer.num_row_groups)]
    chunks = [group.column(index) for group in groups for index in range(group.num_columns)]
    size = sum(part.total_uncompressed_size for part in chunks if part.path_in_schema.split(".")[0] in columns)
    if size > MAX_COLUMNS_BYTES:
        raise DataError(
            f"the columns {list(columns)} of `{path}` must unpack to at most {MAX_COLUMNS_BYTES / 2**30:.1f} GiB, but "
            f"take {size / 2**30:,.1f} GiB. Choose other columns or split the file."
        )


def table_columns(path: Path | str) -> tuple[str, ...]:
    """Return the column names of a CSV, TSV or Parquet table. Raises DataError when it is none."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".parquet":
            return tuple(pq.read_schema(path).names)
        with csv.open_csv(path, read_options=csv.ReadOptions(block_size=1 << 20), parse_options=_parse(path)) as reader:
            return tuple(reader.schema.names)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` cannot be read as a table ({error}). It must be .csv, .tsv or .parquet.") from error


def read_table(path: Path | str, columns: list[str], *, text: list[str]) -> pa.Table:
    """Return the named columns; those in `text` as strings. Raises DataError for a damaged table."""
    path = Path(path)
    try:
        if path.suffix.lower() == ".parquet":
            with pq.ParquetFile(path) as file:
                check_size(file, columns, path)
            return pq.read_table(path, columns=columns, use_threads=False)
        convert = csv.ConvertOptions(include_columns=columns, column_types=dict.fromkeys(text, pa.string()))
        return csv.read_csv(path, parse_options=_parse(path), convert_options=convert)
    except (pa.ArrowException, OSError, UnicodeDecodeError) as error:
        raise DataError(f"`{path}` cannot be read as a table ({error}). Correct that row or save it anew.") from error


def _parse(path: Path) -> csv.ParseOptions:
    return csv.ParseOptions(delimiter="\t" if path.suffix.lower() == ".tsv" else ",", newlines_in_values=True)


def strings(column: pa.ChunkedArray, what: str) -> pa.Array:
    """Return a column as one string array. Raises DataError when its type is no text."""
    try:
        return pa.concat_arrays([chunk.cast(pa.string()) for chunk in column.chunks])
    except pa.ArrowException as error:
        raise DataError(f"`{what}` must hold text ({error}). Choose another column.") from error
