"""Images that are nearly the same: near by what the model sees, and in their pixels. In one set, or across two."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fvm_core.embedding.store import NeighbourTable


@dataclass(frozen=True)
class NearPairs:
    """m pairs, the most alike first: `first` < `second` (m,) int64 rows of the dataset (across two sets: of the first
    and of the second one); `pixel_rms` (m,) float32, root mean square difference of the pixels, 0 to 255; `similarity`
    (m,) float32, cosine of the features."""

    first: NDArray[np.int64]
    second: NDArray[np.int64]
    pixel_rms: NDArray[np.float32]
    similarity: NDArray[np.float32]

    def __len__(self) -> int:
        return len(self.first)

    def contradicting(self, labels: NDArray[np.int64]) -> NearPairs:
        """Return the pairs whose labels, (n,) of the dataset, differ."""
        kept = labels[self.first] != labels[self.second]
        return NearPairs(self.first[kept], self.second[kept], self.pixel_rms[kept], self.similarity[kept])


def near_pairs(table: NeighbourTable, *, within: float) -> NearPairs:
    """Return each pair of which one is among the other's nearest by features and whose pixels differ by at most
    `within` (root mean square, 0 to 255, at the model's size). A copy that the model sees as something else is missed.

    Cost: n * k.
    """
    at, rank = np.nonzero(table.pixel_rms <= within)
    here, there = table.rows[at], table.neighbours[at, rank]
    ends = np.stack([np.minimum(here, there), np.maximum(here, there)], 1)
    _, once = np.unique(ends, axis=0, return_index=True)
    rms, similarity = table.pixel_rms[at, rank][once], table.similarity[at, rank][once]
    order = np.lexsort((ends[once, 1], ends[once, 0], rms))
    ends = ends[once][order]
    return NearPairs(ends[:, 0], ends[:, 1], rms[order], similarity[order])


def pairs_across(table: NeighbourTable, *, within: float) -> NearPairs:
    """Return each pair of an image of one set and one of its nearest in another set (`fvm_core.embedding.across`) whose
    pixels differ by at most `within`.

    Cost: n * k.
    """
    at, rank = np.nonzero(table.pixel_rms <= within)
    first, second = table.rows[at], table.neighbours[at, rank]
    rms, similarity = table.pixel_rms[at, rank], table.similarity[at, rank]
    order = np.lexsort((second, first, rms))
    return NearPairs(first[order], second[order], rms[order], similarity[order])
