"""The job that decodes every image of a dataset once, and tells which ones cannot be read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fvm_core.data.cache import PixelCache
from fvm_core.data.registry import open_unchanged
from fvm_core.errors import DataError
from fvm_core.files import read_json, write_json
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.workspace import Workspace

UNREADABLE = "unreadable.json"


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Decode the dataset named `args["dataset"]` into the pixel cache. Job of kind `check_images`.

    `args["fingerprint"]` is that of the dataset that is meant; `args["size"]` and `args["channels"]` are those of the
    pixels. Images set aside before are tried again. Returns {"fingerprint", "size", "channels", "samples",
    "unreadable": count}; ids and reasons are in the job's folder (`read_unreadable`). What was decoded before a stop
    is not decoded again.

    Raises:
        DataError: the dataset cannot be opened or is not the one that was meant; no image of it is readable.
        StorageError: the disk refused.
    """
    context.progress(0, 0, "opening the dataset")
    dataset = open_unchanged(workspace, args["dataset"], args["fingerprint"])
    size, channels = int(args["size"]), int(args["channels"])
    cache = PixelCache(dataset, size=size, channels=channels, folder=workspace.cache)

    def report(done: int, total: int) -> None:
        context.progress(done, total, f"decoding images: {done:,} of {total:,}")
        if context.checkpoint():
            raise JobStopped

    cache.fill(report, retry=True)
    broken = [[str(dataset.ids[index]), reason] for index, reason in sorted(cache.set_aside.items())]
    write_json(context.path(UNREADABLE), broken)
    return {
        "fingerprint": dataset.fingerprint,
        "size": size,
        "channels": channels,
        "samples": len(dataset),
        "unreadable": len(broken),
    }


def read_unreadable(folder: Path) -> dict[str, str]:
    """Return id -> reason of the images that a job found unreadable.

    Raises:
        DataError: the file is missing or damaged.
    """
    path = folder / UNREADABLE
    kept = read_json(path, what="the list of unreadable images")
    try:
        return {str(name): str(reason) for name, reason in kept}
    except (TypeError, ValueError) as error:
        raise DataError(f"`{path}` must list ids with reasons ({error}). Check the images anew.") from error
