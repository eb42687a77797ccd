"""The reviewed labels alone: CSV for spreadsheets, Parquet with the provenance inside."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.spreadsheet import csv_text
from fvm_core.files import atomic_write
from fvm_core.review.exports.bundle import Bundle
from fvm_core.review.exports.images import outcome


def write_csv(bundle: Bundle, target: Path, tell: Any = None) -> dict[str, Any]:
    """Write one row a chosen sample; texts that a spreadsheet would compute are marked. Raises StorageError."""
    with atomic_write(target, "w", encoding="utf-8", newline="") as file:
        file.write(csv_text(bundle.frame))
    return outcome(bundle, {})


def write_parquet(bundle: Bundle, target: Path, tell: Any = None) -> dict[str, Any]:
    """Write one row a chosen sample, with the provenance in the footer. Raises StorageError."""
    table = pa.Table.from_pandas(bundle.frame, preserve_index=False)
    text = json.dumps(dict(bundle.provenance), sort_keys=True)
    table = table.replace_schema_metadata({**(table.schema.metadata or {}), b"fvm_provenance": text.encode()})
    with atomic_write(target) as file:
        pq.write_table(table, file)
    return outcome(bundle, {})
