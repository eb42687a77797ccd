"""The job `map`: where a model sees the images of a dataset, and which it takes for alike."""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvm_core.embedding.layout import principal, umap_layout
from fvm_core.embedding.neighbours import nearest, pixel_distance
from fvm_core.embedding.settings import MapSettings
from fvm_core.embedding.source import Source, cached_features, open_source
from fvm_core.embedding.store import (
    COUNT,
    MAP_SCHEMA,
    NEIGHBOUR_SCHEMA,
    map_path,
    neighbours_path,
    read_map,
    write_frame,
)
from fvm_core.errors import DataError
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace

SHARES = (("features", 0.33), ("map", 0.53), ("neighbours", 0.12), ("pixels", 0.02))
"""Parts of the work in order, by their share of the time for 50,000 images of CIFAR on one core."""


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Make the map and the neighbours of `args["dataset"]` under `args["model"]`. Job function of kind `map`.

    `args`: model, dataset, checkpoint, expected (see `open_source`), `settings` (MapSettings). Features and what is
    finished are taken from the cache. The principal components are written first, UMAP's positions when they are there,
    then the neighbours. A stop in the middle of UMAP starts UMAP anew.

    Returns {"map", "neighbours": files, "images": readable ones, "width": d, "notes", "seconds": {part: seconds}}.

    Raises:
        FVMError: see `open_source` and `cached_features`.
        JobStopped: the person asked to stop.
    """
    settings = MapSettings.from_json(args.get("settings") or {})
    clock = _Clock(context)
    source = open_source(context, args, workspace)
    count = len(source.feed)
    features = cached_features(
        context, source, workspace, batch_size=settings.batch_size,
        told=lambda done: clock.told("features", done, count, "Features of the images"),
    )  # fmt: skip
    clock.lap("features")
    positions = map_path(workspace, source.seen, settings)
    if not _finished(positions):
        _write_map(source, positions, settings, principal(features), np.full((count, 2), np.nan, np.float32))
        clock.lap("principal components")
        clock.told("map", 0.0, 1.0, "UMAP: looking for neighbours")
        laid = umap_layout(features, settings, lambda share: clock.told("map", share, 1.0, "UMAP"))
        _write_map(source, positions, settings, principal(features), laid)
        clock.lap("map")
    neighbours = neighbours_path(workspace, source.seen)
    exact = True
    if not neighbours.exists():
        found = nearest(features, count=COUNT, told=lambda d, n: clock.told("neighbours", d, n, "Nearest images"))
        clock.lap("neighbours")
        exact = found.exact
        apart = pixel_distance(
            lambda places: source.feed.cache.read(source.feed.usable[places]), found.places,
            told=lambda d, n: clock.told("pixels", d, n, "Comparing pixels"),
        )  # fmt: skip
        clock.lap("pixels")
        rows = source.feed.usable
        columns = {
            "id": source.dataset.ids[rows].tolist(), "row": rows, "neighbours": rows[found.places],
            "similarity": found.similarity, "pixel_rms": apart,
        }  # fmt: skip
        write_frame(neighbours, NEIGHBOUR_SCHEMA, columns, _provenance(source, {"count": COUNT, "exact": exact}))
    context.progress(1000, 1000, "Done")
    return {
        "map": str(positions), "neighbours": str(neighbours), "images": count, "width": features.shape[1],
        "notes": _notes(source, settings, count, exact), "seconds": clock.seconds,
    }  # fmt: skip


class _Clock:
    """Tells the progress of the parts on one bar, lets the person stop, and keeps the seconds of each part."""

    def __init__(self, context: JobContext) -> None:
        self.context = context
        self.seconds: dict[str, float] = {}
        self.start = time.monotonic()

    def told(self, part: str, done: float, total: float, message: str) -> None:
        names = [name for name, _ in SHARES]
        before = sum(share for name, share in SHARES[: names.index(part)])
        reached = before + dict(SHARES)[part] * done / total
        words = f"{message}: {done:,} of {total:,}" if total > 1 else message
        self.context.progress(round(1000 * reached), 1000, words)
        if self.context.checkpoint():
            raise JobStopped

    def lap(self, part: str) -> None:
        moment = time.monotonic()
        self.seconds[part] = round(moment - self.start, 2)
        self.start = moment


def _finished(path: Path) -> bool:
    """Return whether UMAP's positions are there; a damaged file is made anew."""
    try:
        return path.exists() and bool(read_map(path)["x"].notna().all())
    except DataError:
        return False


def _write_map(source: Source, path: Path, settings: MapSettings, first: NDArray[Any], laid: NDArray[Any]) -> None:
    rows = source.feed.usable
    missing = np.isnan(laid)
    columns = {
        "id": source.dataset.ids[rows].tolist(), "row": rows, "pca_x": first[:, 0], "pca_y": first[:, 1],
        "x": np.ma.array(laid[:, 0], mask=missing[:, 0]), "y": np.ma.array(laid[:, 1], mask=missing[:, 1]),
    }  # fmt: skip
    write_frame(path, MAP_SCHEMA, columns, _provenance(source, settings.to_json()))


def _provenance(source: Source, settings: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **source.described, "settings": dict(settings), "version": version(), "created": now(), "machine": machine(),
    }  # fmt: skip


def _notes(source: Source, settings: MapSettings, count: int, exact: bool) -> list[str]:
    notes = []
    aside = len(source.dataset) - count
    if aside:
        notes.append(f"{aside:,} unreadable images are not on the map.")
    if count > settings.limit:
        notes.append(f"UMAP was fitted to {settings.limit:,} of {count:,} images; the others were put into its map.")
    if not exact:
        notes.append("The neighbours are approximate (pynndescent).")
    return notes
