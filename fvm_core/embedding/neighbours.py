"""The nearest images of each image: in the space of features to find them, in pixels to compare them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

EXACT = 100_000
"""Images up to which every pair is compared; above, pynndescent finds nearly all of the nearest ones."""
CHUNK = 2048


@dataclass(frozen=True)
class Neighbours:
    """`places` (n, k) int64: positions of the nearest ones among those searched, the nearest first. `similarity` (n, k)
    float32: cosine, 1 for the same direction. `exact`: whether every pair was compared."""

    places: NDArray[np.int64]
    similarity: NDArray[np.float32]
    exact: bool = True


def unit(features: NDArray[np.float32]) -> NDArray[np.float32]:
    """Return the rows with length 1. Rows of zeros have no direction and get one of their own, in a further column."""
    length = np.linalg.norm(features, axis=1, keepdims=True)
    zero = length == 0
    rows = (features / np.where(zero, 1, length)).astype(np.float32)
    return np.hstack([rows, zero.astype(np.float32)]) if zero.any() else rows


def nearest(features: NDArray[np.float32], *, count: int, told: Callable[[int, int], None] | None = None) -> Neighbours:
    """Return the `count` (or n - 1 if fewer) nearest other rows of each of the (n, d) features by cosine similarity.

    A row is never its own neighbour, but a copy of it is. Rows of zeros are alike, and at a cosine of 0 to all others.
    `told` gets (rows done, n) and may raise to stop.
    Cost: n^2 * d up to EXACT rows (a minute for 50,000 rows of 64 on one busy core), n log n above.
    """
    n = len(features)
    k = min(count, n - 1)
    if k < 1:
        return Neighbours(np.empty((n, 0), np.int64), np.empty((n, 0), np.float32))
    rows = unit(features)
    if n > EXACT:
        return _approximate(rows, k)
    index = NearestNeighbors(n_neighbors=k + 1, algorithm="brute").fit(rows)
    places = np.empty((n, k), np.int64)
    for start in range(0, n, CHUNK):
        own = np.arange(start, min(start + CHUNK, n))
        found = index.kneighbors(rows[own], return_distance=False)
        places[own] = _others(found, own)
        if told:
            told(int(own[-1]) + 1, n)
    return _sorted(rows, places, exact=True)


def nearest_among(
    features: NDArray[np.float32], others: NDArray[np.float32], *, count: int,
    told: Callable[[int, int], None] | None = None,
) -> Neighbours:  # fmt: skip
    """Return the `count` nearest rows of the (m, d) `others` (m if fewer) for each of the (n, d) `features`, as
    `nearest` does within one set; `places` are rows of `others`. Every pair is compared.

    Cost: n * m * d, some seconds for 50,000 rows of 64 beside 10,000.
    """
    n, k = len(features), min(count, len(others))
    if k < 1:
        return Neighbours(np.empty((n, 0), np.int64), np.empty((n, 0), np.float32))
    rows = unit(np.vstack([features, others]))
    here, there = rows[:n], rows[n:]
    index = NearestNeighbors(n_neighbors=k, algorithm="brute").fit(there)
    places = np.empty((n, k), np.int64)
    for start in range(0, n, CHUNK):
        part = here[start : start + CHUNK]
        places[start : start + len(part)] = index.kneighbors(part, return_distance=False)
        if told:
            told(start + len(part), n)
    return _sorted(here, places, exact=True, others=there)


def _others(found: NDArray[np.int64], own: NDArray[np.int64]) -> NDArray[np.int64]:
    """Drop from each row of `found` the sample itself, or the last one where copies crowded it out."""
    mine = found == own[:, None]
    mine[~mine.any(1), -1] = True
    return found[~mine].reshape(len(found), -1)


def _approximate(rows: NDArray[np.float32], k: int) -> Neighbours:
    from pynndescent import NNDescent

    found, _ = NNDescent(rows, metric="cosine", n_neighbors=k + 1, random_state=0, n_jobs=1).neighbor_graph
    return _sorted(rows, _others(found.astype(np.int64), np.arange(len(rows))), exact=False)


def _sorted(
    rows: NDArray[np.float32], places: NDArray[np.int64], *, exact: bool, others: NDArray[np.float32] | None = None
) -> Neighbours:
    searched = rows if others is None else others
    similarity = np.empty(places.shape, np.float32)
    for start in range(0, len(rows), CHUNK):
        part = slice(start, start + CHUNK)
        similarity[part] = np.einsum("id,ikd->ik", rows[part], searched[places[part]])
    order = np.argsort(-similarity, axis=1, kind="stable")
    return Neighbours(np.take_along_axis(places, order, 1), np.take_along_axis(similarity, order, 1), exact)


def pixel_distance(
    pixels: Callable[[NDArray[np.int64]], NDArray[np.uint8]], places: NDArray[np.int64],
    told: Callable[[int, int], None] | None = None, *,
    others: Callable[[NDArray[np.int64]], NDArray[np.uint8]] | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """Return (n, k) float32: root mean square difference of the pixels (0 to 255) of image i and its neighbour k.

    `pixels(places)` gives the decoded images (b, h, w, c) uint8 of positions in ascending order or not, `others` those
    of the set that `places` are of, where it is another one. 0: the same pixels. Cost: n * k images read.
    """
    searched = others or pixels
    out = np.empty(places.shape, np.float32)
    for start in range(0, len(places), CHUNK // 4):
        part = places[start : start + CHUNK // 4]
        own = pixels(np.arange(start, start + len(part))).astype(np.int16).reshape(len(part), -1)
        for rank in range(part.shape[1]):
            other = searched(part[:, rank]).reshape(len(part), -1)
            gap = (own - other).astype(np.float32)
            out[start : start + len(part), rank] = np.sqrt(np.einsum("ij,ij->i", gap, gap) / gap.shape[1])
        if told:
            told(start + len(part), len(places))
    return out
