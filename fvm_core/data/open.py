"""From a spec to an open dataset: the right reader, then corrections, then the chosen rows."""

from __future__ import annotations

import importlib

import numpy as np

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.errors import DataError

READERS = {
    "digits": "digits:open_digits",
    "cifar10n": "cifar:open_cifar",
    "cifar100n": "cifar:open_cifar",
    "parquet": "parquet:open_parquet",
    "folder": "folder:open_folder",
    "manifest": "manifest:open_manifest",
    "npz": "npz:open_npz",
}


def open_dataset(spec: DatasetSpec) -> LabeledImages:
    """Open what `spec` describes. Labels and ids come to memory; no image is read.

    Raises:
        DataError: whatever is wrong with the file, its labels, the corrections or the chosen rows.
    """
    if spec.kind not in READERS:
        raise DataError(f"`kind` must be one of {sorted(READERS)}, got {spec.kind!r}. Choose one of them.")
    if spec.kind != "digits" and not spec.path:
        raise DataError(f"`path` must name the file or folder of a {spec.kind} dataset, got ''. Enter the path.")
    module, function = READERS[spec.kind].split(":")
    dataset: LabeledImages = getattr(importlib.import_module(f"fvm_core.data.{module}"), function)(spec)
    _check_ids(dataset)
    if spec.corrections:
        from fvm_core.data.corrections import apply_corrections

        dataset = apply_corrections(dataset)
    if spec.include or spec.exclude:
        from fvm_core.data.subset import choose_rows

        dataset = choose_rows(dataset, include=spec.include, exclude=spec.exclude)
    return dataset


def _check_ids(dataset: LabeledImages) -> None:
    if len(dataset) == 0:
        raise DataError("dataset must have at least one sample, got none. Choose another file or other rows.")
    order = np.argsort(dataset.ids, kind="stable")
    ordered = dataset.ids[order]
    twice = np.flatnonzero(ordered[1:] == ordered[:-1])
    if len(twice):
        first, second = sorted(int(row) for row in order[twice[0] : twice[0] + 2])
        raise DataError(
            f"ids must be unique, got {str(ordered[twice[0]])!r} in rows {first} and {second} "
            f"({len(twice):,} repeats in all). Remove the repeats or choose another id column."
        )
