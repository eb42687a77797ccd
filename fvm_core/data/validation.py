"""Whether a set can serve as clean validation data for a model, asked before anything is tuned."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from fvm_core.data.dataset import UNKNOWN, LabeledImages
from fvm_core.errors import DataError


def check_validation(dataset: LabeledImages, num_classes: int, *, class_names: Sequence[str] = ()) -> None:
    """Return nothing when tuning may start.

    `class_names` are those of the model or of the noisy dataset; when given, this set's names must stand in the same
    order (its names may be fewer). `with_names_of` brings them into that order.

    Raises:
        DataError: no sample, one class only, labels beyond the model's head, or class names in another order.
    """
    if len(dataset) == 0:
        raise DataError("validation set must have at least one sample, got none. Choose another set.")
    check_head(dataset, num_classes, what="validation set")
    present = np.unique(dataset.labels)
    if len(present) < 2:
        name = dataset.class_names[int(present[0])]
        raise DataError(f"validation set must have at least two classes, but all samples are {name!r}. Add others.")
    check_names(dataset, class_names, what="validation set")


def check_head(dataset: LabeledImages, num_classes: int, *, what: str = "dataset") -> None:
    """Raise DataError when a given label of the dataset has no output in a model with `num_classes` outputs."""
    highest = int(dataset.labels.max(initial=-1))
    if highest >= num_classes:
        raise DataError(
            f"{what} must have at most {num_classes} classes, the outputs of the model, but has label {highest} "
            f"({dataset.class_names[highest]!r}) of {dataset.num_classes} classes. Choose a model with more outputs."
        )


def with_names_of(dataset: LabeledImages, class_names: Sequence[str]) -> LabeledImages:
    """Return the dataset with its classes in the order of `class_names`, matched by name where both sides have names.

    Names that are mere numbers ("0", "1", ...) say nothing: then classes are matched by their number, as they are.

    Raises:
        DataError: a class that has samples is not among `class_names`.
    """
    if not class_names or _numbers(class_names) or _numbers(dataset.class_names):
        return dataset
    return align_classes(dataset, class_names)


def check_names(dataset: LabeledImages, class_names: Sequence[str], *, what: str) -> None:
    """Raise DataError when both sides have names and those of the dataset stand in another order."""
    named = class_names and not _numbers(class_names) and not _numbers(dataset.class_names)
    if named and tuple(class_names[: dataset.num_classes]) != dataset.class_names:
        raise DataError(
            f"class names of the {what} must be {list(class_names)} in this order, the model's, got "
            f"{list(dataset.class_names)}. Give the {what} the option class_names in the model's order."
        )


def _numbers(names: Sequence[str]) -> bool:
    return all(name.isdecimal() for name in names)


def align_classes(dataset: LabeledImages, class_names: Sequence[str]) -> LabeledImages:
    """Return the dataset with its labels renumbered to the order of `class_names`, matched by name.

    Raises:
        DataError: a class that has samples is not among `class_names`.
    """
    names = tuple(class_names)
    if dataset.class_names == names:
        return dataset
    places = {name: index for index, name in enumerate(names)}
    table = np.array([places.get(name, UNKNOWN) for name in dataset.class_names], dtype=np.int64)
    labels = table[dataset.labels]
    if (labels == UNKNOWN).any():
        name = dataset.class_names[int(dataset.labels[labels == UNKNOWN][0])]
        raise DataError(f"class {name!r} must be one of {list(names)}. Rename it or choose another set.")
    clean = dataset.clean_labels
    if clean is not None:
        clean = np.where(clean == UNKNOWN, UNKNOWN, table[clean])
    return replace(dataset, labels=labels, clean_labels=clean, class_names=names)
