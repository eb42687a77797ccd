"""Two numbers for each image: principal components at once, UMAP for a map to work with."""

from __future__ import annotations

import time
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA

from fvm_core.embedding.settings import MapSettings

Floats = NDArray[np.float32]
Told = Callable[[float], None]
"""told(share of the work done, 0 to 1); what it raises ends the work."""


def principal(features: Floats) -> Floats:
    """Return (n, 2): the two directions of largest variance of the centred (n, d) features, by exact PCA.

    With d = 1 or n = 1 the missing direction is 0. Cost: n * d^2.
    """
    wanted = min(2, *features.shape) if len(features) > 1 else 0
    if wanted == 0:
        return np.zeros((len(features), 2), np.float32)
    found = PCA(wanted, svd_solver="full").fit_transform(features)
    return np.pad(found, ((0, 0), (0, 2 - wanted))).astype(np.float32)


def umap_layout(features: Floats, settings: MapSettings, told: Told = lambda _: None) -> Floats:
    """Return (n, 2): UMAP (McInnes et al. 2018) of the (n, d) features under the cosine distance.

    It is fitted to `settings.limit` rows at most; the others are placed into that map. The same rows, settings and
    libraries give the same map; another machine may turn or bend it. `told` is called at every step of UMAP's
    optimisation, at most ten times a second. Fewer than 4 rows are too few for UMAP and get their principal components.
    """
    import umap

    n = len(features)
    if n < 4:
        return principal(features)
    fitted = np.arange(n)
    if n > settings.limit:
        fitted = np.sort(np.random.default_rng(settings.seed).choice(n, settings.limit, replace=False))
    rest = np.setdiff1d(np.arange(n), fitted)
    share = len(fitted) / n
    reducer = umap.UMAP(
        n_neighbors=min(settings.n_neighbors, len(fitted) - 1), min_dist=settings.min_dist, metric="cosine",
        random_state=settings.seed, n_jobs=1, verbose=False, tqdm_kwds=_steps(lambda done: told(done * share)),
    )  # fmt: skip
    out = np.empty((n, 2), np.float32)
    out[fitted] = reducer.fit_transform(features[fitted])
    chunk = max(settings.limit, 1)
    for start in range(0, len(rest), chunk):
        part = rest[start : start + chunk]
        reducer.tqdm_kwds = _steps(lambda _, reached=share: told(reached))  # type: ignore[misc]
        out[part] = reducer.transform(features[part])
        share += len(part) / n
        told(share)
    return out


class _Bar:
    """A file for tqdm: UMAP's only way to say how far it is. What `told` raises comes out of UMAP."""

    def __init__(self, told: Told) -> None:
        self.told = told
        self.last = float("-inf")

    def write(self, text: str) -> None:
        done, _, total = text.strip().partition("/")
        if total.isdigit() and done.isdigit() and time.monotonic() - self.last > 0.1:
            self.last = time.monotonic()
            self.told(int(done) / max(int(total), 1))

    def flush(self) -> None:
        return


def _steps(told: Told) -> dict[str, object]:
    """Return what UMAP hands on to tqdm: no bar, a word to `told` instead."""
    return {
        "disable": False,
        "file": _Bar(told),
        "bar_format": "{n_fmt}/{total_fmt}",
        "mininterval": 0.1,
        "leave": True,
    }
