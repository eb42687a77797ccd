"""Where one image stands in many score lists: its score, how much of the list is less suspicious, what is suggested."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from fvm_core.errors import DataError

GRID = 2001
COLUMNS = ("score", "suspicion", "suggested", "label")


@dataclass(frozen=True)
class Standing:
    """`score` in the method's own unit, `suspicion` its sign turned so that larger is worse; `percentile` in [0, 100]:
    the share of the list that is less suspicious (ties count half). `suggested`: a label, -1 for none."""

    score: float
    suspicion: float
    percentile: float
    suggested: int
    label: int


def quantiles(path: Path | str) -> NDArray[np.float64]:
    """Return (GRID,) the suspicions of a score file at evenly spaced shares of its rows, ascending: what `standing`
    reads percentiles from without the whole file. Exact for up to GRID rows, else within 100 / (GRID - 1) points.

    Raises:
        DataError: missing or damaged.
    """
    try:
        values = np.sort(pq.read_table(path, columns=["suspicion"])["suspicion"].to_numpy())
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
    values = values[np.isfinite(values)]
    if len(values) <= GRID:
        return values
    return values[np.linspace(0, len(values) - 1, GRID).round().astype(np.int64)]


def standing(path: Path | str, row: int, grid: NDArray[np.float64]) -> Standing | None:
    """Return where the sample at `row` of its dataset stands, None if the file does not have it. `grid`: `quantiles`.

    Reads the row groups that can hold the row, four columns of them.

    Raises:
        DataError: missing or damaged.
    """
    try:
        table = pq.read_table(path, columns=list(COLUMNS), filters=[("row", "==", row)])
    except (OSError, KeyError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
    if table.num_rows == 0:
        return None
    found = table.slice(0, 1).to_pylist()[0]
    below = np.searchsorted(grid, found["suspicion"], side="left")
    upto = np.searchsorted(grid, found["suspicion"], side="right")
    share = 100 * (below + upto) / 2 / max(len(grid), 1)
    return Standing(found["score"], found["suspicion"], float(share), int(found["suggested"]), int(found["label"]))
