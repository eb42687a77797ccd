"""Some of a dataset's rows, by id: those a person marked as clean, or all but a few."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import DataError
from fvm_core.files import atomic_write


def choose_rows(dataset: LabeledImages, *, include: str = "", exclude: str = "") -> LabeledImages:
    """Keep the ids in the text file `include` (all when empty) that are not in `exclude`, in the dataset's order.

    Raises:
        DataError: a file that cannot be read, an id that the dataset does not have, or no row left.
    """
    keep = np.ones(len(dataset), np.bool_)
    if include:
        keep = _mask(dataset, include, "include")
    if exclude:
        keep &= ~_mask(dataset, exclude, "exclude")
    if not keep.any():
        raise DataError(
            "`include` and `exclude` must leave at least one row, but leave none. Correct the lists of ids."
        )
    return take(dataset, np.flatnonzero(keep).astype(np.int64))


def take(dataset: LabeledImages, indices: NDArray[np.int64]) -> LabeledImages:
    """Return the dataset made of rows `indices`, in that order; classes and spec stay."""
    clean = dataset.clean_labels
    return replace(
        dataset,
        ids=dataset.ids[indices],
        labels=dataset.labels[indices],
        rows=dataset.rows[indices],
        clean_labels=None if clean is None else clean[indices],
    )


def write_ids(path: Path | str, ids: Iterable[str]) -> int:
    """Write an ids file for `DatasetSpec.include` / `exclude`, one id a line, and return how many.

    Raises:
        DataError: an id that a line cannot hold. StorageError: the disk refused.
    """
    lines = [f"{one}\n" for one in ids]
    strange = next((line[:-1] for line in lines if line[:-1] != line.strip() or "\n" in line[:-1]), None)
    if strange is not None:
        raise DataError(
            f"ids must have no line break and no white space at their ends to be listed, got {strange!r:.100}. Choose "
            "another id column."
        )
    with atomic_write(path, "w", encoding="utf-8") as file:
        file.writelines(lines)
    return len(lines)


def _mask(dataset: LabeledImages, path: str, what: str) -> NDArray[np.bool_]:
    try:
        text = Path(path).expanduser().read_text(encoding="utf-8-sig")
    except (OSError, ValueError) as error:
        raise DataError(f"`{what}` file `{path}` cannot be read ({error}). It must be text, one id a line.") from error
    wanted = np.array([line for line in (raw.strip() for raw in text.split("\n")) if line], dtype=np.str_)
    if len(wanted) == 0:
        raise DataError(f"`{what}` file `{path}` must hold at least one id, but is empty. Add ids, one a line.")
    unknown = ~np.isin(wanted, dataset.ids)
    if unknown.any():
        raise DataError(
            f"`{what}` must name ids of the dataset, but {int(unknown.sum()):,} are not in it, such as "
            f"{str(wanted[unknown][0])!r}. Use the list that was made for this dataset."
        )
    return np.isin(dataset.ids, wanted)
