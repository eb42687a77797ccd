"""From a spec to an open dataset: the right reader, then corrections, then the chosen rows."""

from __future__ import annotations

import importlib

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.ids import check_unique
from fvm_core.data.options import check_options
from fvm_core.data.stamp import spec_stamp
from fvm_core.errors import DataError

__all__ = ["READERS", "open_dataset", "spec_stamp"]

READERS = {
    "digits": "digits:open_digits",
    "cifar10n": "cifar:open_cifar",
    "cifar100n": "cifar:open_cifar",
    "parquet": "parquet:open_parquet",
    "folder": "folder:open_folder",
    "manifest": "manifest:open_manifest",
    "npz": "npz:open_npz",
    "joined": "joined:open_joined",
}


def open_dataset(spec: DatasetSpec) -> LabeledImages:
    """Open what `spec` describes. Labels and ids come to memory; no image is read.

    Raises:
        DataError: whatever is wrong with the file, its labels, the corrections or the chosen rows.
    """
    if spec.kind not in READERS:
        raise DataError(f"`kind` must be one of {sorted(READERS)}, got {spec.kind!r}. Choose one of them.")
    if spec.kind not in ("digits", "joined") and not spec.path:
        raise DataError(f"`path` must name the file or folder of a {spec.kind} dataset, got ''. Enter the path.")
    check_options(spec)
    module, function = READERS[spec.kind].split(":")
    dataset: LabeledImages = getattr(importlib.import_module(f"fvm_core.data.{module}"), function)(spec)
    if len(dataset) == 0:
        raise DataError("dataset must have at least one sample, got none. Choose another file or other rows.")
    check_unique(dataset.ids)
    if spec.corrections:
        from fvm_core.data.corrections import apply_corrections

        dataset = apply_corrections(dataset)
    if spec.include or spec.exclude:
        from fvm_core.data.subset import choose_rows

        dataset = choose_rows(dataset, include=spec.include, exclude=spec.exclude)
    return dataset
