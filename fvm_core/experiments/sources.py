"""The datasets of a grid as one seed sees them: rows drawn by the seed, sizes, and their place in the store."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.subset import take, write_ids
from fvm_core.errors import DataError
from fvm_core.experiments.store import Store
from fvm_core.files import slug, write_json
from fvm_core.provenance import digest

TRAINING, VALIDATION = 31, 32
"""Purposes of the seeds: training and validation rows are drawn apart."""


@dataclass(frozen=True)
class Rows:
    """A dataset, or `size` of its rows. `name` is the person's; two of one content share a fingerprint."""

    name: str
    dataset: LabeledImages
    whole: int

    def __len__(self) -> int:
        return len(self.dataset)

    @cached_property
    def fingerprint(self) -> str:
        return self.dataset.fingerprint

    @property
    def kept_as(self) -> str:
        """Return its name in the store: the person's, with a digest of spec and content."""
        mark = digest([self.dataset.spec.to_json(), self.fingerprint])[:10]
        return f"{slug(self.name)[:50]}-{mark}"

    def register(self, store: Store) -> str:
        """Write the dataset's spec (and the ids of chosen rows) into the store; return its name there."""
        spec: DatasetSpec = self.dataset.spec
        if len(self) < self.whole:
            path = store.ids / f"{self.kept_as}.txt"
            if not path.exists():
                write_ids(path, self.dataset.ids.tolist())
            spec = replace(spec, include=str(path))
        write_json(store.datasets / f"{self.kept_as}.json", spec.to_json())
        return self.kept_as


def all_rows(name: str, dataset: LabeledImages) -> Rows:
    return Rows(name, dataset, len(dataset))


def draw(rows: Rows, size: int | None, *, seed: int, purpose: int) -> Rows:
    """Return `size` rows drawn at random without repetition, in the dataset's order; all for None or a size beyond.

    A pure function of the number of rows, `seed` and `purpose`: other label columns of the same images get the same
    images, and a smaller draw lies inside a larger one.
    """
    if size is None or size >= len(rows):
        return rows
    order: NDArray[np.int64] = np.random.default_rng([purpose, seed]).permutation(len(rows)).astype(np.int64)
    return Rows(rows.name, take(rows.dataset, np.sort(order[:size])), rows.whole)


def check_truth(rows: Rows) -> None:
    """Raise DataError unless some labels are known to be wrong and some to be right: nothing else can be measured."""
    wrong = rows.dataset.mislabeled()
    known = rows.dataset.clean_labels
    if wrong is None or known is None or not wrong.any() or (wrong | (known == -1)).all():
        raise DataError(
            f"dataset {rows.name!r} must have known clean labels that differ from the given ones in some rows and "
            "agree in others: AUC, AP and relabel accuracy are measured against them. Choose the column of clean "
            "labels on the Load page, or another dataset."
        )
