"""How one score is spread over groups of samples: counted here, so that no chart ships every sample."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from pages.ui.scales import Scale


@dataclass(frozen=True)
class Distribution:
    """One method's spread. `edges` (m + 1,) are positions on `scale`; `shares[group]` (m,) sum to 100 (%).

    `quartiles[group]` are the 25%, 50% and 75% points in the score's own unit; `counts[group]` samples.
    """

    title: str
    axis: str
    scale: Scale
    edges: NDArray[np.float64]
    shares: Mapping[str, NDArray[np.float64]]
    quartiles: Mapping[str, tuple[float, float, float]]
    counts: Mapping[str, int]

    @property
    def centres(self) -> NDArray[np.float64]:
        return (self.edges[:-1] + self.edges[1:]) / 2

    def frame(self) -> pd.DataFrame:
        """Return the bins as a table: bin_from, bin_to (own unit) and one column of shares in % a group."""
        left, right = self.scale.inverse(self.edges[:-1]), self.scale.inverse(self.edges[1:])
        table = pd.DataFrame({"method": self.title, "bin_from": left, "bin_to": right})
        for group, share in self.shares.items():
            table[f"{group} (%)"] = share
        return table


def distribute(
    values: NDArray[np.float64],
    groups: Mapping[str, NDArray[np.bool_]],
    *,
    title: str,
    axis: str,
    scale: Scale,
    bins: int = 60,
    limits: tuple[float, float] | None = None,
) -> Distribution:
    """Count `values` (n,) into equal bins of the axis position, for each group of samples that has any.

    `limits` are axis positions; without them the bins span all finite values. Values outside fall into the end bins.
    Non-finite values are left out.
    """
    finite = np.isfinite(values)
    if limits is None:
        seen = scale.forward(values[finite])
        limits = (float(seen.min()), float(seen.max())) if seen.size else (0.0, 1.0)
    low, high = limits
    if high <= low:
        low, high = low - 0.5, high + 0.5
    edges = np.linspace(low, high, bins + 1)
    shares: dict[str, NDArray[np.float64]] = {}
    quartiles: dict[str, tuple[float, float, float]] = {}
    counts: dict[str, int] = {}
    for group, mask in groups.items():
        inside = np.sort(values[mask & finite])
        total = len(inside)
        if not total:
            continue
        ends = np.searchsorted(scale.forward(inside), edges[1:-1], side="left")
        heights = np.diff(np.concatenate([[0], ends, [total]]))
        first, middle, last = np.quantile(inside, [0.25, 0.5, 0.75])
        shares[group], counts[group] = 100.0 * heights / total, total
        quartiles[group] = (float(first), float(middle), float(last))
    return Distribution(title, axis, scale, edges, shares, quartiles, counts)


def smooth(shares: NDArray[np.float64], *, width: float = 1.5) -> NDArray[np.float64]:
    """Return `shares` blurred by a Gaussian of `width` bins, same length; the outline of a violin.

    >>> float(smooth(np.eye(1, 21, 10)[0]).sum().round(3))
    1.0
    """
    reach = int(np.ceil(4 * width))
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / width) ** 2)
    return np.convolve(shares, kernel / kernel.sum(), mode="full")[reach:-reach]
