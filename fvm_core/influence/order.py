"""The order of a long list of scores, twice as fast as a stable sort."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray


def falling(values: ArrayLike) -> NDArray[np.int64]:
    """Return (n,) positions of `values` (n,), the largest first; ties in their order, NaN last.

    One sort of whole numbers whose upper half is the value in single precision and whose lower half is the position;
    what only double precision tells apart is put right afterwards. O(n log n), n < 2^32.

    >>> falling([1.0, float("nan"), 3.0, 1.0]).tolist()
    [2, 0, 3, 1]
    """
    keys = 0.0 - np.asarray(values, dtype=np.float64)  # not `-values`: it would tell 0 from -0
    with np.errstate(over="ignore"):
        bits = keys.astype(np.float32).view(np.uint32)
    ranks = np.where(bits >> 31, ~bits, bits | np.uint32(1 << 31))
    ranks[np.isnan(keys)] = np.iinfo(np.uint32).max
    packed = ranks.astype(np.uint64) << np.uint64(32) | np.arange(len(keys), dtype=np.uint64)
    packed.sort()
    order = (packed & np.uint64(2**32 - 1)).astype(np.int64)
    ordered = keys[order]
    if not (ordered[1:] < ordered[:-1]).any():
        return order
    ranks = (packed >> np.uint64(32)).astype(np.uint32)
    alike = np.concatenate([[False], ranks[1:] == ranks[:-1], [False]])
    places = np.flatnonzero(alike[1:] | alike[:-1])  # of all that share a rank with a neighbour
    order[places] = order[places][np.lexsort((order[places], ordered[places], ranks[places]))]
    return order
