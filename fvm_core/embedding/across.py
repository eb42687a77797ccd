"""The job `across`: which images of the clean set a model takes for alike to an image of the training set.

A copy that was saved anew, cropped or recoloured has other bytes, so that `fvm_core.data.overlap` does not see it.
"""

from __future__ import annotations

from typing import Any

from fvm_core.embedding.neighbours import nearest_among, pixel_distance
from fvm_core.embedding.source import Source, cached_features, open_source
from fvm_core.embedding.store import NEIGHBOUR_SCHEMA, across_path, write_frame
from fvm_core.errors import DataError
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.provenance import machine, now, version
from fvm_core.workspace import Workspace

COUNT = 3
"""Nearest images of the clean set kept for each training image."""
BATCH = 256


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Find for each image of `args["dataset"]` its nearest in `args["validation"]` by the features of `args["model"]`,
    and how far their pixels are apart. Job function of kind `across`.

    `args`: model, dataset, validation, checkpoint, expected {"model", "dataset", "validation"} (see `open_source`).
    Features come from the cache where the map's job left them. Writes `across_path` (NEIGHBOUR_SCHEMA) once; what is
    there is not made again.

    Returns {"across": file, "images": [n, v] readable ones}.

    Raises:
        FVMError: see `open_source` and `cached_features`.
        DataError: both names are of the same data.
        JobStopped: the person asked to stop.
    """
    expected = dict(args.get("expected") or {})
    held_out = expected.pop("validation", None)
    train = open_source(context, {**args, "expected": expected}, workspace)
    other = {"dataset": args["validation"], "expected": {} if held_out is None else {"dataset": held_out}}
    clean = open_source(context, {**args, **other}, workspace)
    if train.dataset.fingerprint == clean.dataset.fingerprint:
        raise DataError(f"`validation` must be another dataset than {args['dataset']!r}, got the same one.")
    n, v = len(train.feed), len(clean.feed)

    def told(before: int, total: int, message: str) -> Any:
        def tell(done: int, _: int = 0) -> None:
            context.progress(before + done, 3 * n + v, f"{message}: {done:,} of {total:,}")
            if context.checkpoint():
                raise JobStopped

        return tell

    def features(source: Source, before: int, what: str) -> Any:
        tell = told(before, len(source.feed), f"Features of the {what}")
        return cached_features(context, source, workspace, batch_size=BATCH, told=tell)

    path = across_path(workspace, train.seen, clean.dataset.fingerprint)
    if not path.exists():
        here, there = features(train, 0, "training images"), features(clean, n, "clean images")
        found = nearest_among(here, there, count=COUNT, told=told(n + v, n, "Nearest clean images"))
        apart = pixel_distance(
            lambda places: train.feed.cache.read(train.feed.usable[places]), found.places,
            told(2 * n + v, n, "Comparing pixels"),
            others=lambda places: clean.feed.cache.read(clean.feed.usable[places]),
        )  # fmt: skip
        rows = train.feed.usable
        columns = {
            "id": train.dataset.ids[rows].tolist(), "row": rows, "neighbours": clean.feed.usable[found.places],
            "similarity": found.similarity, "pixel_rms": apart,
        }  # fmt: skip
        about = {
            **train.described, "validation": clean.described["dataset"], "settings": {"count": COUNT},
            "version": version(), "created": now(), "machine": machine(),
        }  # fmt: skip
        write_frame(path, NEIGHBOUR_SCHEMA, columns, about)
    context.progress(3 * n + v, 3 * n + v, "Done")
    return {"across": str(path), "images": [n, v]}
