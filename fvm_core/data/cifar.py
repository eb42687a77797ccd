"""CIFAR-10N and CIFAR-100N by name: images from a local folder, human labels from the published file."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fvm_core.data.dataset import DatasetSpec, ImageSource, LabeledImages
from fvm_core.data.identity import file_identity, file_stamp
from fvm_core.data.ids import row_ids
from fvm_core.data.label_file import read_label_file
from fvm_core.data.parquet import open_parquet, parquet_columns
from fvm_core.data.safe_pickle import read_pickle
from fvm_core.errors import DataError

MAX_BATCH_BYTES = 512 * 2**20


@dataclass(frozen=True)
class CifarKind:
    """Names of one of the two sets: torchvision's folder and files, columns of the label file and of the Parquet."""

    title: str
    folder: str
    train: tuple[str, ...]
    test: tuple[str, ...]
    labels: str
    meta: str
    meta_key: str
    label_file: str
    columns: Mapping[str, str]
    default: str


KINDS = {
    "cifar10n": CifarKind(
        "cifar10", "cifar-10-batches-py", tuple(f"data_batch_{i}" for i in range(1, 6)), ("test_batch",), "labels",
        "batches.meta", "label_names", "CIFAR-10_human.pt",
        {"aggre": "aggre_label", "random1": "random_label1", "random2": "random_label2", "random3": "random_label3",
         "worse": "worse_label"}, "worse",
    ),
    "cifar100n": CifarKind(
        "cifar100", "cifar-100-python", ("train",), ("test",), "fine_labels", "meta", "fine_label_names",
        "CIFAR-100_human.pt", {"noisy": "noisy_label"}, "noisy",
    ),
}  # fmt: skip


def open_cifar(spec: DatasetSpec) -> LabeledImages:
    """Open the 50,000 training images with one of the human label sets, or the clean test images.

    `spec.path` is the folder with `cifar-10-batches-py` / `cifar-100-python` (or that folder itself), or with
    train.parquet and test.parquet. `spec.label` is aggre, random1, random2, random3, worse (cifar10n), noisy
    (cifar100n) or clean; empty takes worse / noisy for train, clean for test. Options: `split` "train" or "test",
    `label_file` (default: CIFAR-10_human.pt / CIFAR-100_human.pt in the folder), `download` (a wish that the Load
    page and the command line grant with a job before they open; opening fetches nothing).

    Raises:
        DataError: images or labels are missing, damaged, unsafe, or of different order.
    """
    kind = KINDS[spec.kind]
    split = str(spec.options.get("split", "train"))
    if split not in ("train", "test"):
        raise DataError(f"`split` must be 'train' or 'test', got {split!r}. Choose one of them.")
    label = spec.label or (kind.default if split == "train" else "clean")
    if label not in (*kind.columns, "clean") or (split == "test" and label != "clean"):
        allowed = [*kind.columns, "clean"] if split == "train" else ["clean"]
        raise DataError(f"`label` must be one of {allowed} for {spec.kind} {split}, got {label!r}. Choose one of them.")
    folder = Path(spec.path).expanduser()
    batches = _batch_folder(folder, kind)
    if batches is not None:
        clean, names, source = _open_batches(batches, kind, split)
    elif (folder / f"{split}.parquet").is_file():
        clean, names, source = _open_parquet(folder / f"{split}.parquet")
    else:
        raise DataError(
            f"`path` must hold `{kind.folder}` or `{split}.parquet`, got `{folder}`. Choose the folder that holds the "
            "images, or let the Load page or `dataset add ... --option download=true` fetch them."
        )
    labels = clean.copy() if label == "clean" else _noisy(spec, kind, folder, label, clean, len(names))
    ids = row_ids(f"{kind.title}-{split}", len(clean))
    return LabeledImages(spec, ids, labels, names, source, np.arange(len(clean), dtype=np.int64), clean)


def has_batches(name: str, folder: Path) -> bool:
    """Return whether `folder` holds the images of `cifar10n` or `cifar100n` as torchvision lays them out."""
    return _batch_folder(folder, KINDS[name]) is not None


def has_images(spec: DatasetSpec) -> bool:
    """Return whether the folder of a CIFAR spec holds its images, in torchvision's layout or as Parquet."""
    folder = Path(spec.path).expanduser()
    split = str(spec.options.get("split", "train"))
    return has_batches(spec.kind, folder) or (folder / f"{split}.parquet").is_file()


def label_path(spec: DatasetSpec) -> Path | None:
    """Return where the file of human labels must be, or None if `spec` asks for the clean ones."""
    kind, split = KINDS[spec.kind], spec.options.get("split", "train")
    if split != "train" or spec.label == "clean":
        return None
    path = spec.options.get("label_file") or Path(spec.path).expanduser() / kind.label_file
    return Path(str(path)).expanduser()


class BatchSource:
    """(32, 32, 3) uint8 arrays out of torchvision's batch files; each file is read when first needed, then kept."""

    def __init__(self, files: tuple[Path, ...], counts: tuple[int, ...]) -> None:
        self.files = files
        self._starts = np.concatenate([[0], np.cumsum(counts)])
        self._loaded: dict[int, NDArray[np.uint8]] = {}
        self._lock = threading.Lock()

    def read(self, row: int) -> NDArray[Any]:
        number = int(np.searchsorted(self._starts, row, side="right")) - 1
        pixels = self._loaded.get(number)
        if pixels is None:
            with self._lock:
                if number not in self._loaded:
                    self._loaded[number] = _read_batch(self.files[number])["data"]
                pixels = self._loaded[number]
        return pixels[row - self._starts[number]].reshape(3, 32, 32).transpose(1, 2, 0)

    def identity(self) -> str:
        parts = " ".join(file_identity(path) for path in self.files)
        return f"cifar:{hashlib.sha256(parts.encode()).hexdigest()}"

    def stamp(self) -> str:
        parts = " ".join(file_stamp(path) for path in self.files)
        return f"cifar:{hashlib.sha256(parts.encode()).hexdigest()}"

    def __getstate__(self) -> dict[str, Any]:
        return {"files": self.files, "_starts": self._starts}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state, _loaded={}, _lock=threading.Lock())


def _batch_folder(folder: Path, kind: CifarKind) -> Path | None:
    for place in (folder / kind.folder, folder):
        if (place / kind.train[0]).is_file() and (place / kind.meta).is_file():
            return place
    return None


def _open_batches(folder: Path, kind: CifarKind, split: str) -> tuple[NDArray[np.int64], tuple[str, ...], ImageSource]:
    files = tuple(folder / name for name in (kind.train if split == "train" else kind.test))
    meta = read_pickle(_bytes(folder / kind.meta), what=str(folder / kind.meta))
    names = meta.get(kind.meta_key) if isinstance(meta, dict) else None
    if not isinstance(names, list) or not names:
        raise DataError(f"`{folder / kind.meta}` must hold `{kind.meta_key}`. Unpack the archive anew.")
    labels = []
    for path in files:
        labels.append(np.asarray(_read_batch(path)[kind.labels]))
        if (
            labels[-1].dtype.kind not in "iu"
            or labels[-1].min(initial=0) < 0
            or labels[-1].max(initial=0) >= len(names)
        ):
            raise DataError(f"labels in `{path}` must be 0 to {len(names) - 1}. Unpack the archive anew.")
    counts = tuple(len(part) for part in labels)
    clean = np.concatenate(labels).astype(np.int64)
    return clean, tuple(str(name) for name in names), BatchSource(files, counts)


def _read_batch(path: Path) -> dict[str, Any]:
    batch = read_pickle(_bytes(path), what=str(path))
    pixels = batch.get("data") if isinstance(batch, dict) else None
    if not isinstance(pixels, np.ndarray) or pixels.dtype != np.uint8 or pixels.ndim != 2 or pixels.shape[1] != 3072:
        raise DataError(f"`{path}` must hold (n, 3072) uint8 pixels under `data`. Unpack the archive anew.")
    for key in ("labels", "fine_labels"):
        if key in batch and len(batch[key]) != len(pixels):
            raise DataError(f"`{path}` must hold one label an image, got {len(batch[key])} for {len(pixels)}.")
    if "labels" not in batch and "fine_labels" not in batch:
        raise DataError(f"`{path}` must hold `labels` or `fine_labels`. Unpack the archive anew.")
    return batch


def _bytes(path: Path) -> bytes:
    try:
        if path.stat().st_size > MAX_BATCH_BYTES:
            raise DataError(f"`{path}` must be at most {MAX_BATCH_BYTES >> 20} MiB. Unpack the archive anew.")
        return path.read_bytes()
    except OSError as error:
        raise DataError(f"`{path}` cannot be read ({error.strerror or error}). Unpack the archive anew.") from error


def _open_parquet(path: Path) -> tuple[NDArray[np.int64], tuple[str, ...], ImageSource]:
    columns = parquet_columns(path).labels
    truth = next((name for name in ("clean_label", "fine_label", "label") if name in columns), "")
    if not truth:
        raise DataError(f"`{path}` must have a column `clean_label`, got {list(columns)}. Open it as kind 'parquet'.")
    dataset = open_parquet(DatasetSpec("parquet", str(path), label=truth))
    return dataset.labels, dataset.class_names, dataset.source


def _noisy(
    spec: DatasetSpec, kind: CifarKind, folder: Path, label: str, clean: NDArray[np.int64], num_classes: int
) -> NDArray[np.int64]:
    """Take the human labels from the label file, or without one from the Parquet's own column."""
    path = label_path(spec) or folder / kind.label_file
    column = kind.columns[label]
    parquet = folder / "train.parquet"
    in_parquet = parquet.is_file() and not path.exists() and not spec.options.get("label_file")
    if in_parquet and column in parquet_columns(parquet).labels:
        return open_parquet(DatasetSpec("parquet", str(parquet), label=column)).labels
    columns = read_label_file(path)
    if column not in columns:
        raise DataError(f"`{path}` has no labels {label!r}; it has {sorted(columns)}. Choose another label set.")
    labels = columns[column]
    if len(labels) != len(clean):
        raise DataError(
            f"`{path}` must have {len(clean):,} labels, one an image, got {len(labels):,}. Check the files."
        )
    if labels.min() < 0 or labels.max() >= num_classes:
        raise DataError(f"labels in `{path}` must be 0 to {num_classes - 1}, got {labels.min()} to {labels.max()}.")
    truth = columns.get("clean_label")
    if truth is not None and not np.array_equal(truth, clean):
        different = int((truth != clean).sum()) if len(truth) == len(clean) else len(clean)
        raise DataError(
            f"`{path}` must be in the order of the images, but {different:,} of its clean labels differ from theirs. "
            "Use the images in torchvision's order."
        )
    return labels
