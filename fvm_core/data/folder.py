"""ImageFolder: one folder for each class, images anywhere below it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa

from fvm_core.data.dataset import DatasetSpec, LabeledImages
from fvm_core.data.ids import path_ids
from fvm_core.data.labels import parse_class_names
from fvm_core.data.paths import SUFFIXES, FileSource, inside
from fvm_core.errors import DataError


def open_folder(spec: DatasetSpec) -> LabeledImages:
    """Open `spec.path`/CLASS/**/image. Ids are the relative paths; classes the sorted folder names.

    Options: `class_names` (fixes the classes and their order; the folders must be among them). Hidden files and other
    file types are left out, with a note. No image is read.

    Raises:
        DataError: no folder, no class folders, no images, or a link that leads outside the folder.
    """
    root = Path(spec.path).expanduser()
    if not root.is_dir():
        raise DataError(f"`path` must be a folder with one folder a class, got `{spec.path}`. Check the path.")
    base = os.path.realpath(root)
    folders = sorted(entry.name for entry in os.scandir(base) if entry.is_dir() and not entry.name.startswith("."))
    if not folders:
        raise DataError(f"`{root}` must hold one folder a class, but holds none. Choose the folder above the classes.")
    names = parse_class_names(spec.options.get("class_names")) or tuple(folders)
    strange = [folder for folder in folders if folder not in names]
    if strange:
        raise DataError(f"folder {strange[0]!r} must be one of the class names {names}. Rename it or give its name.")
    paths: list[str] = []
    labels: list[int] = []
    skipped = 0
    for folder in folders:
        for path in _walk(base, folder):
            if path.lower().endswith(SUFFIXES):
                paths.append(path)
                labels.append(names.index(folder))
            else:
                skipped += 1
    if not paths:
        raise DataError(
            f"`{root}` must hold images ({', '.join(SUFFIXES)}), but none was found. Choose another folder."
        )
    notes = [f"{skipped:,} files that are not images were left out."] if skipped else []
    empty = [name for index, name in enumerate(names) if index not in set(labels)]
    if empty:
        notes.append(f"{len(empty)} classes have no image: {', '.join(empty[:8])}.")
    array = pa.array(paths, pa.string())
    ids, more = path_ids(array)
    rows = np.arange(len(paths), dtype=np.int64)
    codes = np.array(labels, dtype=np.int64)
    return LabeledImages(spec, ids, codes, names, FileSource(base, array), rows, notes=(*notes, *more))


def _walk(base: str, folder: str) -> Iterator[str]:
    """Yield the files below `folder` in sorted order. Linked folders are refused, linked files must stay inside."""
    if os.path.islink(os.path.join(base, folder)):
        raise DataError(
            f"folder `{folder}` must be a real folder, not a link. Copy the files or choose another folder."
        )
    pending = [folder]
    while pending:
        current = pending.pop()
        with os.scandir(os.path.join(base, current)) as entries:
            ordered = sorted(entries, key=lambda entry: entry.name)
        deeper = []
        for entry in ordered:
            name = f"{current}/{entry.name}"
            if entry.name.startswith("."):
                continue
            if entry.is_symlink():
                inside(base, name)
                if entry.is_dir():
                    raise DataError(f"folder `{name}` must be a real folder, not a link. Copy the files.")
            if entry.is_dir(follow_symlinks=False):
                deeper.append(name)
            else:
                yield name
        pending.extend(reversed(deeper))
