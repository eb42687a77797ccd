"""Several datasets as one: a clean set and the images that people verified, one after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import UNKNOWN, DatasetSpec, ImageSource, LabeledImages
from fvm_core.data.validation import with_names_of
from fvm_core.errors import DataError

MOST = 16


@dataclass(frozen=True)
class JoinedSource:
    """Row r of the whole is row r - start of the part that it falls into. `starts` (k,) ascend from 0."""

    parts: tuple[ImageSource, ...]
    starts: NDArray[np.int64]

    def read(self, row: int) -> bytes | NDArray[Any]:
        part = int(np.searchsorted(self.starts, row, side="right")) - 1
        return self.parts[part].read(row - int(self.starts[part]))

    def identity(self) -> str:
        return self._hash([part.identity() for part in self.parts])

    def stamp(self) -> str:
        return self._hash([getattr(part, "stamp", part.identity)() for part in self.parts])

    def _hash(self, parts: list[str]) -> str:
        return f"joined:{hashlib.sha256(chr(0).join([*parts, str(self.starts.tolist())]).encode()).hexdigest()}"


def joined_spec(parts: Sequence[DatasetSpec]) -> DatasetSpec:
    """Return the spec of `parts` as one dataset."""
    return DatasetSpec("joined", options={"parts": [part.to_json() for part in parts]})


def open_joined(spec: DatasetSpec) -> LabeledImages:
    """Open the specs in the option `parts` (2 to 16 of them), one after the other. Classes are those of the first part;
    labels of the others are matched to them by name. An id that an earlier part has gets "NUMBER/" of its part before
    it, counted from 1. `clean_labels` are known where a part knows them.

    Raises:
        DataError: parts that are none, that are joined themselves or cannot be opened, or classes that differ.
    """
    from fvm_core.data.open import open_dataset

    given = spec.options.get("parts") or []
    if not 2 <= len(given) <= MOST or any(part.get("kind") == "joined" for part in given):
        raise DataError(f"`parts` must be 2 to {MOST} datasets, none of them joined, got {len(given)}. Join others.")
    opened = [open_dataset(DatasetSpec.from_json(part)) for part in given]
    names = opened[0].class_names
    parts = [opened[0], *(with_names_of(part, names, num_classes=len(names)) for part in opened[1:])]
    for number, part in enumerate(parts, 1):
        if part.num_classes != len(names):
            raise DataError(
                f"part {number} must have the {len(names)} classes of the first, but has {part.num_classes}. "
                "Join datasets of one set of classes."
            )
    ids: list[str] = []
    seen: set[str] = set()
    for number, part in enumerate(parts, 1):
        ids += [f"{number}/{one}" if one in seen else one for one in part.ids.tolist()]
        seen.update(ids)
    lengths = [int(part.rows.max(initial=-1)) + 1 for part in parts]
    starts = np.concatenate([[0], np.cumsum(lengths)[:-1]]).astype(np.int64)
    clean = [np.full(len(part), UNKNOWN) if part.clean_labels is None else part.clean_labels for part in parts]
    known = any(part.clean_labels is not None for part in parts)
    return LabeledImages(
        spec,
        np.array(ids, dtype=np.str_),
        np.concatenate([part.labels for part in parts]),
        names,
        JoinedSource(tuple(part.source for part in parts), starts),
        np.concatenate([part.rows + start for part, start in zip(parts, starts, strict=True)]),
        np.concatenate(clean).astype(np.int64) if known else None,
        tuple(note for part in parts for note in part.notes),
    )
