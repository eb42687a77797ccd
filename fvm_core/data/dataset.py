"""What every source opens as: images on demand, labels in memory, a stable id for each sample."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from fvm_core.errors import DataError

UNKNOWN = -1
KINDS = ("digits", "cifar10n", "cifar100n", "parquet", "folder", "manifest", "npz", "joined")


@dataclass(frozen=True)
class DatasetSpec:
    """Where a dataset is and how to read it; small, JSON-able, kept in the workspace and in every provenance.

    `kind` is one of KINDS. `path` is a file or folder. `image`, `label`, `clean_label` name columns (or NPZ arrays);
    for cifar10n/cifar100n `label` names the noise setting. `options` holds kind-specific choices (documented in each
    source). `corrections` is a corrected-labels file exported by the Review page, laid over `label`.
    `include` / `exclude` name text files with one sample id a line: only those / all but those rows are opened.
    """

    kind: str
    path: str = ""
    image: str = ""
    label: str = ""
    clean_label: str = ""
    corrections: str = ""
    include: str = ""
    exclude: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        return {key: value for key, value in asdict(self).items() if value not in ("", {}, None)}

    @classmethod
    def from_json(cls, value: Mapping[str, Any]) -> DatasetSpec:
        """Build from a mapping. Raises DataError for an unknown key or kind."""
        unknown = set(value) - set(cls.__dataclass_fields__)
        if unknown or value.get("kind") not in KINDS:
            raise DataError(f"`dataset` must have a `kind` out of {KINDS} and only known keys, got {dict(value)!r}.")
        return cls(**dict(value))


class ImageSource(Protocol):
    """Reads one encoded image (JPEG, PNG, ... bytes) or one raw array (h, w) or (h, w, c) uint8/uint16 at a time."""

    def read(self, row: int) -> bytes | NDArray[Any]: ...

    def identity(self) -> str:
        """Return a string that changes when the content may have: path, size and time of the file, or a hash."""
        ...


@dataclass(frozen=True)
class LabeledImages:
    """A dataset that is open. `n` samples, `c` classes.

    `ids` (n,) unique str; `labels` (n,) int64 in [0, c); `clean_labels` (n,) int64 with UNKNOWN where not known, or
    None when no truth exists; `rows` (n,) int64, the row of `source` behind each sample.
    Images that turn out unreadable are set aside by the pixel cache, not here: opening reads no image.
    """

    spec: DatasetSpec
    ids: NDArray[np.str_]
    labels: NDArray[np.int64]
    class_names: tuple[str, ...]
    source: ImageSource
    rows: NDArray[np.int64]
    clean_labels: NDArray[np.int64] | None = None
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    def read(self, index: int) -> bytes | NDArray[Any]:
        """Return the encoded bytes or raw array of sample `index` (0 <= index < n)."""
        return self.source.read(int(self.rows[index]))

    @cached_property
    def fingerprint(self) -> str:
        """SHA-256 (hex) over ids, given labels, class names and the source's identity: the dataset's provenance."""
        digest = hashlib.sha256(self.source.identity().encode())
        digest.update("\0".join(self.class_names).encode())
        digest.update(np.ascontiguousarray(self.labels).tobytes())
        for start in range(0, len(self.ids), 65_536):
            digest.update(b"\0" if start else b"")
            digest.update("\0".join(self.ids[start : start + 65_536].tolist()).encode())
        return digest.hexdigest()

    def mislabeled(self) -> NDArray[np.bool_] | None:
        """Return (n,) True where the given label differs from a known clean one, or None without any truth."""
        if self.clean_labels is None:
            return None
        return (self.clean_labels != UNKNOWN) & (self.clean_labels != self.labels)
