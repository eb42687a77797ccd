"""The job that looks for images which a training set and a validation set share."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from fvm_core.data.overlap import overlap
from fvm_core.data.registry import open_unchanged
from fvm_core.errors import DataError
from fvm_core.files import atomic_write
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.workspace import Workspace

PAIRS = "pairs.parquet"
SIDES = ("train", "validation")


def run(context: JobContext, args: dict[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Compare the datasets named `args["train"]` and `args["validation"]`. Job of kind `overlap`.

    `args["train_fingerprint"]` and `args["validation_fingerprint"]` are those of the datasets that are meant. Returns
    {"train", "validation": fingerprints, "samples": training samples, "pairs": count, "unreadable": images that could
    not be compared}; the pairs themselves are in the job's folder (`read_pairs`). Goes on where it was stopped.

    Raises:
        DataError: a dataset cannot be opened, or is not the one that was meant any more.
        StorageError: the disk refused.
    """
    context.progress(0, 0, "opening the datasets")
    train = open_unchanged(workspace, args["train"], args["train_fingerprint"])
    validation = open_unchanged(workspace, args["validation"], args["validation_fingerprint"])

    def report(done: int, total: int) -> None:
        context.progress(done, total, f"comparing images: {done:,} of {total:,}")
        if context.checkpoint():
            raise JobStopped

    found = overlap(train, validation, report, folder=context.folder)
    write_pairs(context.path(PAIRS), list(found.pairs))
    return {
        "train": train.fingerprint,
        "validation": validation.fingerprint,
        "samples": len(train),
        "pairs": len(found),
        "unreadable": found.unreadable,
    }


def write_pairs(path: Path, pairs: list[tuple[str, str]]) -> None:
    """Write (training id, validation id) pairs as Parquet. Raises StorageError."""
    table = pa.table({name: pa.array([pair[side] for pair in pairs], pa.string()) for side, name in enumerate(SIDES)})
    with atomic_write(path) as file:
        pq.write_table(table, file)


def read_pairs(folder: Path) -> list[tuple[str, str]]:
    """Return the (training id, validation id) pairs that a job left in its folder.

    Raises:
        DataError: the file is missing or damaged.
    """
    try:
        table = pq.read_table(folder / PAIRS, columns=list(SIDES), use_threads=False)
    except (OSError, pa.ArrowException) as error:
        raise DataError(
            f"the pairs found by job `{folder.name}` cannot be read ({error}). Delete that job on the Jobs page and "
            "look for the overlap anew."
        ) from error
    return list(zip(*(table[name].to_pylist() for name in SIDES), strict=True))
