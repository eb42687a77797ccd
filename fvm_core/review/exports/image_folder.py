"""One folder a class, PNG files below it: what torchvision's ImageFolder, Keras and timm read."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from fvm_core.data.spreadsheet import csv_text
from fvm_core.errors import DataError
from fvm_core.files import atomic_write, slug, write_json
from fvm_core.review.exports.bundle import Bundle
from fvm_core.review.exports.images import file_name, outcome, write_images


def class_folders(names: tuple[str, ...]) -> list[str]:
    """Return a folder name a class: its number, so that folders sort as the classes do, and what is safe of its name.

    >>> class_folders(("cat", "../<b>", "日本"))
    ['0_cat', '1_b', '2']
    """
    digits = len(str(len(names) - 1))
    return [f"{k:0{digits}d}_{_safe(name)}".rstrip("_") for k, name in enumerate(names)]


def write(bundle: Bundle, target: Path, tell: Any) -> dict[str, Any]:
    """Write `images/FOLDER/NUMBER.png` under the reviewed label, `labels.csv` (file and all columns of the export) and
    `classes.json` (folder -> class name). A class without images gets no folder: torchvision refuses empty ones."""
    folders = class_folders(bundle.dataset.class_names)
    labels = bundle.frame["label"].tolist()
    files = [
        f"{folders[label]}/{file_name(index)}" for label, index in zip(labels, bundle.indices.tolist(), strict=True)
    ]
    broken = write_images(bundle, target / "images", files.__getitem__, tell)
    table = bundle.frame.assign(file=[f"images/{name}" for name in files])
    table = table.loc[[row for row in range(len(table)) if row not in broken], ["file", *bundle.frame.columns]]
    with atomic_write(target / "labels.csv", "w", encoding="utf-8", newline="") as file:
        file.write(csv_text(table))
    write_json(target / "classes.json", dict(zip(folders, bundle.dataset.class_names, strict=True)))
    return outcome(bundle, broken)


def _safe(name: str) -> str:
    try:
        return slug(name)[:40].strip("-_")
    except DataError:
        return ""
