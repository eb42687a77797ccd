"""How well each label is supported by a method's score of it: the bars behind a suggestion."""

from __future__ import annotations

from dataclasses import dataclass
from threading import Lock

import numpy as np
import pyarrow.parquet as pq
from numpy.typing import ArrayLike, NDArray

from fvm_core.errors import DataError
from fvm_core.influence.methods import METHODS

LOGARITHMIC = ("influence", "influence_ekfac", "second_train")
_DECADES = 9.0
_STUB = 0.04


@dataclass(frozen=True)
class Bars:
    """One sample's bars. `scores` (c,) in the method's own unit; `exact` (c,): False where only a lower bound of the
    score is known; `lengths` (c,) in [0.04, 1], 1 for the best supported label."""

    scores: NDArray[np.float32]
    exact: NDArray[np.bool_]
    lengths: NDArray[np.float64]


def lengths(scores: ArrayLike, method: str) -> NDArray[np.float64]:
    """Return (c,) bar lengths in [0.04, 1]: long = well supported label. NaN gets 0.

    The method's sign decides which end is good: for `influence` the smallest s wins (facts of Eq. 22), drawn on a
    logarithmic scale between the best and the worst label of this sample (at most 9 decades); others are linear.

    >>> lengths([100.0, 0.01, 1.0], "influence").round(2).tolist()
    [0.04, 1.0, 0.52]
    >>> lengths([0.1, 0.9], "confident").tolist()
    [0.04, 1.0]
    """
    against = np.asarray(scores, dtype=np.float64) * _sign(method)
    finite = np.isfinite(against)
    if not finite.any():
        return np.zeros_like(against)
    if method in LOGARITHMIC:
        top = max(float(against[finite].max()), np.finfo(np.float64).tiny * 10**_DECADES)
        against = np.log10(np.maximum(np.where(finite, against, top), top / 10**_DECADES))
    best, worst = against[finite].min(), against[finite].max()
    spread = worst - best
    share = (worst - against) / spread if spread > 0 else np.ones_like(against)
    return np.where(finite, _STUB + (1 - _STUB) * share, 0.0)


def _sign(method: str) -> int:
    if method not in METHODS:
        raise DataError(f"`method` must be one of {tuple(METHODS)}, got {method!r}. Score again.")
    return METHODS[method].suspicious


def caption(method: str) -> str:
    """Return one sentence that says how to read the bars of a method."""
    if method in LOGARITHMIC:
        return (
            "Long bar = well supported label: the smallest score s wins. Bars run on a log scale from this image's "
            "worst label to its best. Hatched: only a lower bound of s is known, proved not to win."
        )
    wins = "smallest" if _sign(method) > 0 else "largest"
    return (
        f"Long bar = well supported label: the {wins} score wins. Bars run from this image's worst label to its best. "
        "Hatched: only a bound is known."
    )


class LabelScores:
    """Reads the per-label scores of a few rows of a score file at a time: whole row groups, few columns. For many
    threads."""

    def __init__(self, path: str) -> None:
        """Open a score file. Raises DataError when it has no per-label scores column."""
        self._lock = Lock()
        self._file = pq.ParquetFile(path)
        if not {"id", "label_scores", "label_exact"} <= set(self._file.schema_arrow.names):
            raise DataError(f"`{path}` has no columns `label_scores` and `label_exact`. Score again.")
        sizes = [self._file.metadata.row_group(k).num_rows for k in range(self._file.metadata.num_row_groups)]
        self._ends = np.cumsum(sizes)

    def read(self, positions: ArrayLike, method: str) -> list[Bars | None]:
        """Return the bars of the rows at `positions`, None for a row without per-label scores."""
        return [bars for _, bars in self.named(positions, method)]

    def named(self, positions: ArrayLike, method: str) -> list[tuple[str, Bars | None]]:
        """Return the id and the bars of the rows at `positions`; each row group that holds one is read once."""
        wanted = np.asarray(positions, dtype=np.int64)
        groups = np.searchsorted(self._ends, wanted, side="right")
        found: dict[int, tuple[str, Bars | None]] = {}
        for group in np.unique(groups):
            with self._lock:
                table = self._file.read_row_group(int(group), columns=["id", "label_scores", "label_exact"])
            start = self._ends[group] - table.num_rows
            for position in wanted[groups == group]:
                row = int(position - start)
                found[int(position)] = table["id"][row].as_py(), _bars(table, row, method)
        return [found[int(position)] for position in wanted]


def _bars(table: object, row: int, method: str) -> Bars | None:
    scores = table["label_scores"][row].as_py()  # type: ignore[index]
    if not scores:
        return None
    exact = table["label_exact"][row].as_py() or [True] * len(scores)  # type: ignore[index]
    values = np.asarray([np.nan if value is None else value for value in scores], dtype=np.float32)
    return Bars(values, np.asarray(exact, dtype=bool), lengths(values, method))
