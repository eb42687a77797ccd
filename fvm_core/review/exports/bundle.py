"""What an export is made of: an open dataset, the reviewed labels of the chosen rows, and where they come from."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import ReviewError
from fvm_core.review.export import COLUMNS
from fvm_core.review.exports.forms import ROWS


@dataclass(frozen=True)
class Bundle:
    """`frame` has `fvm_core.review.export.COLUMNS`, one row a chosen sample in the order of the dataset; `indices` (n,)
    are their places in it. `provenance` is that of the reviewed labels."""

    dataset: LabeledImages
    frame: pd.DataFrame
    indices: NDArray[np.int64]
    provenance: Mapping[str, Any]

    def __len__(self) -> int:
        return len(self.frame)


def make_bundle(
    dataset: LabeledImages,
    frame: pd.DataFrame,
    provenance: Mapping[str, Any],
    *,
    rows: str = "all",
    ids: Collection[str] = (),
) -> Bundle:
    """Choose `rows` (a key of ROWS; `ids` names them for "ids") out of the labels of every sample of `dataset`.

    Raises:
        ReviewError: the labels are of another dataset, an unknown choice of rows, or none is left.
    """
    fingerprints = set(frame["dataset_fingerprint"]) if "dataset_fingerprint" in frame else set()
    if set(COLUMNS) - set(frame) or fingerprints != {dataset.fingerprint} or len(frame) != len(dataset):
        raise ReviewError(
            f"the reviewed labels must be those of this dataset ({dataset.fingerprint[:12]}), but were made for "
            f"{sorted(str(one)[:12] for one in fingerprints)}. Open the dataset that was reviewed and export again."
        )
    action = frame["action"]
    if rows == "ids":
        chosen = frame["id"].isin(set(ids))
    elif rows in ROWS:
        decided = ~action.isin(["", "skip"])
        changed = decided & (frame["label"] != frame["given_label"])
        chosen = {"all": action.notna(), "decided": decided, "changed": changed}[rows]
    else:
        raise ReviewError(f"`rows` must be one of {list(ROWS)}, got {rows!r}. Choose one of them.")
    indices = np.flatnonzero(chosen.to_numpy()).astype(np.int64)
    if len(indices) == 0:
        raise ReviewError(f"`rows` must leave at least one image, but there are none: {ROWS[rows]}. Choose others.")
    return Bundle(dataset, frame.iloc[indices].reset_index(drop=True), indices, dict(provenance))


def read_labels(path: Path) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Return the labels and the provenance of a Parquet file that `write_export` wrote.

    Raises:
        ReviewError: it is missing, damaged or not ours.
    """
    try:
        table = pq.read_table(path)
        provenance = json.loads((table.schema.metadata or {})[b"fvm_provenance"])
    except (OSError, KeyError, ValueError, pa.ArrowException) as error:
        raise ReviewError(f"the reviewed labels `{path}` cannot be read ({error}). Export them again.") from error
    return table.to_pandas(), provenance
