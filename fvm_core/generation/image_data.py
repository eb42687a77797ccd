"""Image-text pairs into the workspace: the demo's styles and subjects, or a folder of one's own. No torch here."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from fvm_core.errors import DataError
from fvm_core.files import slug
from fvm_core.generation.digit_styles import write_digit_styles
from fvm_core.generation.digit_subjects import write_digit_subjects
from fvm_core.generation.image_folder_pairs import open_image_pairs
from fvm_core.generation.store import generation_folder, list_pairs, write_pairs
from fvm_core.workspace import Workspace

SPLITS = {"train": "train", "val": "validation", "pretrain": "pretrain"}
"""End of the name of a set of pairs, and its folder."""


def make_digit_styles(workspace: Workspace, name: str, **settings: Any) -> list[str]:
    """Draw the demo's digits below `generation/images/NAME` and keep the three sets of pairs NAME-train,
    NAME-val and NAME-pretrain. `settings`: those of `write_digit_styles`. Returns the names.

    Raises:
        DataError: pairs or images of that name exist.
        SettingsError: as `write_digit_styles`.
        StorageError: the disk refused.
    """
    return _kept(workspace, name, write_digit_styles, tuple(SPLITS), settings)


def make_digit_subjects(workspace: Workspace, name: str, **settings: Any) -> list[str]:
    """Draw single digits as subjects below `generation/images/NAME` and keep NAME-train and NAME-val. `settings`:
    those of `write_digit_subjects`. Returns the names. Raises: as `make_digit_styles`."""
    return _kept(workspace, name, write_digit_subjects, ("train", "val"), settings)


MADE = {"styles": (make_digit_styles, 200, 50), "subjects": (make_digit_subjects, 3, 2)}
"""Sets that are drawn here: what makes them, usual training and validation pairs a class."""


def _kept(
    workspace: Workspace, name: str, write: Callable[..., Any], ends: Sequence[str], settings: dict[str, Any]
) -> list[str]:
    name = slug(name)
    folder = generation_folder(workspace, "images", name)
    taken = [f"{name}-{end}" for end in ends if f"{name}-{end}" in list_pairs(workspace)]
    if taken or folder.exists():
        raise DataError(f"`name` must be new: {taken[0] if taken else name!r} exists already. Choose another name.")
    staged = folder.with_name(f".{name}.{secrets.token_hex(4)}.tmp")
    try:
        write(staged, **settings)
        os.rename(staged, folder)
    finally:
        shutil.rmtree(staged, ignore_errors=True)
    return [write_pairs(workspace, f"{name}-{end}", open_image_pairs(folder / SPLITS[end])) for end in ends]


def add_image_folder(workspace: Workspace, name: str, folder: Path | str, *, text: str = "", classes: str = "") -> str:
    """Keep the pairs of an image-text folder under `name`, and return that name. The images stay where they are.

    Raises:
        DataError: as `open_image_pairs`, or pairs of that name exist.
    """
    return write_pairs(workspace, name, open_image_pairs(Path(folder).absolute(), text=text, classes=classes))
