"""The image that an explanation is about: found by its id, under its given label or another one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from fvm_core.data.dataset import LabeledImages
from fvm_core.errors import DataError
from fvm_core.influence.explain_settings import SETS
from fvm_core.influence.task import Task
from fvm_core.tuning.feed import Feed


@dataclass(frozen=True)
class ExplainedImage:
    """`of` is its set ("training" or "validation"), `position` its place in that feed, `row` in that dataset; `label`
    the one that is asked about, `given` its own; `x` (1, c, h, w)."""

    of: str
    id: str
    position: int
    row: int
    label: int
    given: int
    x: Tensor


def feed_of(task: Task, name: str) -> Feed:
    """Return the feed of the set "training" or "validation"."""
    return task.train if name == "training" else task.validation


def data_of(task: Task, name: str) -> LabeledImages:
    """Return the open dataset behind it, its classes numbered as the model's."""
    return feed_of(task, name).cache.dataset


def find_image(task: Task, *, of: str, id: str, label: Any = None) -> ExplainedImage:
    """Return the image with this id. `label` is a class's name or number; None: the given label.

    Raises:
        DataError: no such set, image or class, or the image is unreadable.
    """
    if of not in SETS:
        raise DataError(f"`of` must be one of {list(SETS)}, got {of!r}.")
    data, feed = data_of(task, of), feed_of(task, of)
    rows = np.flatnonzero(data.ids == id)
    if not len(rows):
        raise DataError(f"`id` must be that of an image in the {of} set, got {id!r}. Choose one by its id.")
    row = int(rows[0])
    position = int(np.searchsorted(feed.usable, row))
    if position >= len(feed) or feed.usable[position] != row:
        raise DataError(f"image {id!r} of the {of} set is unreadable: nothing can be said about it. Choose another.")
    given = int(data.labels[row])
    asked = given if label is None else _label(task.dataset.class_names, label)
    return ExplainedImage(of, id, position, row, asked, given, feed.batch(np.array([position]))[0])


def _label(names: tuple[str, ...], value: Any) -> int:
    if isinstance(value, str) and value in names:
        return names.index(value)
    number = int(value) if str(value).isdigit() else -1
    if not 0 <= number < len(names):
        raise DataError(f"`label` must be one of {list(names)} or a number below {len(names)}, got {value!r}.")
    return number
