"""Images that people verified leave the training set and join the clean one: two new datasets, and no image in both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from fvm_core.data.corrections import CHECK
from fvm_core.data.dataset import DatasetSpec
from fvm_core.data.joined import joined_spec
from fvm_core.data.open import open_dataset
from fvm_core.data.overlap import overlap
from fvm_core.data.registry import add_dataset, check_name, read_spec
from fvm_core.data.subset import take, write_ids
from fvm_core.errors import DataError
from fvm_core.files import read_json, slug
from fvm_core.jobs.context import JobContext, JobStopped
from fvm_core.workspace import Workspace


def run(context: JobContext, args: Mapping[str, Any], workspace: Workspace) -> dict[str, Any]:
    """Make `args["clean"]` and `args["rest"]` out of a reviewed training set and a clean set. Job of kind `join`.

    `args`: "corrected" (name of the training set with the reviewed labels), "validation" (name of the clean set),
    "verified" (a JSON file that lists the ids a person decided). The new clean set is the old one and the verified
    images with their reviewed labels; the rest is the training set without them.

    Every image is compared with the clean set first, byte by byte. Verified images that are in the clean set already
    are not added a second time; other training images that are in it, or are copies of a verified one, are left out of
    the rest. Returns {"clean", "rest": names, "added", "known", "copies": counts}.

    Raises:
        DataError: an id that the training set does not have, a name that is taken, or nothing to add or left over.
        StorageError: the disk refused.
    """
    spec, held_out = read_spec(workspace, args["corrected"]), read_spec(workspace, args["validation"])
    if held_out.kind == "joined":
        clean_parts = [DatasetSpec.from_json(part) for part in held_out.options["parts"]]
    else:
        clean_parts = [held_out]
    train, clean = open_dataset(spec), open_dataset(held_out)
    verified = np.isin(train.ids, np.array([str(one) for one in read_json(args["verified"], what="verified ids")]))
    if not verified.any():
        raise DataError("`verified` must name at least one image of the training set, got none. Decide some first.")

    def report(done: int, total: int) -> None:
        context.progress(done, total, f"comparing images: {done:,} of {total:,}")
        if context.checkpoint():
            raise JobStopped

    shared = np.zeros(len(train), np.bool_)
    shared[overlap(train, clean, report, folder=_folder(context, "clean")).train] = True
    joining = verified & ~shared
    if not joining.any():
        raise DataError("all verified images are in the clean set already: there is nothing to add.")
    copies = shared & ~verified
    others = np.flatnonzero(~verified & ~shared).astype(np.int64)
    found = overlap(take(train, others), take(train, np.flatnonzero(joining).astype(np.int64)), report,
                    folder=_folder(context, "verified"))  # fmt: skip
    copies[others[found.train]] = True
    rest = ~verified & ~copies
    if not rest.any():
        raise DataError("no training image would be left. Keep some images out of the clean set.")
    names = {key: str(args[key]) for key in ("clean", "rest")}
    specs = {
        "clean": joined_spec([*clean_parts, _rows(workspace, spec, names["clean"], train.ids[joining].tolist())]),
        "rest": _rows(workspace, spec, names["rest"], train.ids[rest].tolist()),
    }
    keys = {key: check_name(workspace, names[key], specs[key]) for key in names}
    for key, made in keys.items():
        add_dataset(workspace, made, specs[key])
    counts = {"added": int(joining.sum()), "known": int((verified & shared).sum()), "copies": int(copies.sum())}
    return {**keys, **counts}


def _rows(workspace: Workspace, spec: DatasetSpec, name: str, ids: list[str]) -> DatasetSpec:
    """Return `spec` with only the rows `ids`, which become a file of this dataset's own."""
    path = workspace.exports / f"dataset-{slug(name)}.ids.txt"
    write_ids(path, ids)
    checked = {CHECK: "ids"} if spec.corrections else {}  # `spec` was opened: its corrections are those of this dataset
    return replace(spec, include=str(path), exclude="", options={**spec.options, **checked})


def _folder(context: JobContext, name: str) -> Path:
    return context.path(name, "digests").parent
