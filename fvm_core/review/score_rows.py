"""The columns of a score file that a review needs, 24 bytes a sample; ids stay in the file until someone searches."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from fvm_core.errors import DataError
from fvm_core.influence.order import falling
from fvm_core.influence.store import read_column


@dataclass(frozen=True, eq=False)
class ScoreRows:
    """`n` rows of a score file. `rows` (n,) row in the dataset; `labels`, `suggested` (n,), -1 for no suggestion;
    `scores` (n,) in the method's own sign; `order` (n,) positions by falling suspicion, ties in the order of the file,
    NaN last. `read_ids` returns all ids.
    """

    rows: NDArray[np.int32]
    labels: NDArray[np.int32]
    suggested: NDArray[np.int32]
    scores: NDArray[np.float64]
    order: NDArray[np.int32]
    read_ids: Callable[[], pa.ChunkedArray]

    def __len__(self) -> int:
        return len(self.rows)

    def positions(self, rows: ArrayLike) -> NDArray[np.int64]:
        """Return where rows of the dataset are in this table, -1 for those that are not (and for a row of -1)."""
        wanted = np.asarray(rows, dtype=np.int64)
        inside = (wanted >= 0) & (wanted < len(self._place))
        return np.where(inside, self._place[np.where(inside, wanted, 0)], -1) if len(self) else np.full(len(wanted), -1)

    @cached_property
    def _place(self) -> NDArray[np.int32]:
        place = np.full(int(self.rows.max(initial=-1)) + 1, -1, dtype=np.int32)
        place[self.rows] = np.arange(len(self.rows), dtype=np.int32)
        return place

    @cached_property
    def range(self) -> tuple[float, float] | None:
        """The smallest and the largest finite score, None without any."""
        finite = self.scores[np.isfinite(self.scores)]
        return (float(finite.min()), float(finite.max())) if finite.size else None

    def containing(self, text: str) -> NDArray[np.bool_]:
        """Return (n,) True where the id has `text` in it, any case."""
        cased = text.lower() != text.upper()  # telling cases apart where there are none costs twice as much
        return pc.match_substring(self.read_ids(), text, ignore_case=cased).to_numpy()

    def among(self, ids: Sequence[str]) -> NDArray[np.bool_]:
        """Return (n,) True where the id is one of `ids`."""
        return pc.is_in(self.read_ids(), value_set=pa.array(ids, pa.string())).to_numpy()


def by_suspicion(suspicion: NDArray[np.floating]) -> NDArray[np.int32]:
    """Return (n,) positions, the largest first; ties in their order, NaN last.

    >>> by_suspicion(np.array([1.0, np.nan, 3.0, 1.0])).tolist()
    [2, 0, 3, 1]
    """
    return falling(suspicion).astype(np.int32)


def read_score_rows(path: Path | str) -> ScoreRows:
    """Read the columns of a score file one by one, and sort while the others are read.

    Raises:
        DataError: the file is missing or damaged, or lacks a column.
    """
    with ThreadPoolExecutor(1) as other:
        order = other.submit(lambda: by_suspicion(read_column(path, "suspicion")))
        return ScoreRows(
            rows=read_column(path, "row").astype(np.int32),
            labels=read_column(path, "label").astype(np.int32),
            suggested=read_column(path, "suggested").astype(np.int32),
            scores=read_column(path, "score").astype(np.float64, copy=False),
            order=order.result(),
            read_ids=lambda: _ids(path),
        )


def _ids(path: Path | str) -> pa.ChunkedArray:
    try:
        with pq.ParquetFile(path) as file:
            return file.read(columns=["id"]).column(0)
    except (OSError, pa.ArrowException) as error:
        raise DataError(f"score file `{path}` cannot be read ({error}). Score the dataset again.") from error
