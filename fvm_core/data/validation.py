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
    check_names(dataset, class_names, what="validation set", num_classes=num_classes)


def check_head(dataset: LabeledImages, num_classes: int, *, what: str = "dataset") -> None:
    """Raise DataError when a given label of the dataset has no output in a model with `num_classes` outputs."""
    highest = int(dataset.labels.max(initial=-1))
    if highest >= num_classes:
        raise DataError(
            f"{what} must have at most {num_classes} classes, the outputs of the model, but has label {highest} "
            f"({dataset.class_names[highest]!r}) of {dataset.num_classes} classes. Choose a model with more outputs."
        )


def with_names_of(
    dataset: LabeledImages, class_names: Sequence[str], *, num_classes: int | None = None
) -> LabeledImages:
    """Return the dataset with its labels numbered as the model numbers its classes.

    Words are matched by name. Numbers ("0", "1", ...) among numbers too; where the model has words for its classes, or
    no names but `num_classes` outputs, a number is the class number itself, so a set without any "3" keeps its "4" at
    4. Words cannot be compared with numbers or with nothing: then classes stay as they are.

    Raises:
        DataError: a class that has samples is not among `class_names`, or its number is no class of the model.
    """
    if _numbers(dataset.class_names):
        reference = _numbered(class_names, num_classes)
        present = set(np.unique(dataset.labels).tolist())
        if not reference or present.isdisjoint(_moved(dataset, reference)):
            return dataset
        aligned = align_classes(replace(dataset, class_names=_plain(dataset.class_names)), reference)
        return replace(aligned, class_names=tuple(class_names) if len(class_names) == len(reference) else reference)
    if not class_names or _numbers(class_names):
        return dataset
    return align_classes(dataset, class_names)


def check_names(
    dataset: LabeledImages, class_names: Sequence[str], *, what: str, num_classes: int | None = None
) -> None:
    """Raise DataError when the classes of the dataset stand in another order than the model's.

    Words are compared with words, numbers as in `with_names_of`; a set whose first classes are the model's passes.
    """
    if _numbers(dataset.class_names):
        reference = _numbered(class_names, num_classes)
        moved = _moved(dataset, reference)
        if reference and moved and moved[0] < len(reference):
            raise DataError(
                f"class numbers of the {what} must be those of the model, but {dataset.class_names[moved[0]]!r} would "
                f"become its class {moved[0]} ({reference[moved[0]]!r}): a number before it is missing, or they are "
                f"sorted as words. Open the {what} with the class names {','.join(reference)}, in this order."
            )
        return
    named = class_names and not _numbers(class_names)
    if named and tuple(class_names[: dataset.num_classes]) != dataset.class_names:
        raise DataError(
            f"class names of the {what} must be {list(class_names)} in this order, the model's, got "
            f"{list(dataset.class_names)}. Open the {what} with the class names {','.join(class_names)}, in this order."
        )


def _numbers(names: Sequence[str]) -> bool:
    return all(name.isascii() and name.isdigit() for name in names)


def _plain(names: Sequence[str]) -> tuple[str, ...]:
    """Return numbers without leading zeros, or all as they are where two would become one."""
    plain = tuple(name.lstrip("0") or "0" for name in names)
    return plain if len(set(plain)) == len(plain) else tuple(names)


def _numbered(class_names: Sequence[str], num_classes: int | None) -> tuple[str, ...]:
    """Return the numbers by which a model's classes are known; () when nothing is known of them."""
    plain = tuple(str(index) for index in range(max(num_classes or 0, len(class_names))))
    numbers = _plain(class_names) if class_names and _numbers(class_names) else ()
    return plain if numbers == plain[: len(numbers)] else numbers


def _moved(dataset: LabeledImages, reference: tuple[str, ...]) -> list[int]:
    """Return the classes of the dataset whose number stands elsewhere, or nowhere, in `reference`.

    Of classes beyond all of it those that merely count on are left to `check_head`.
    """
    names = _plain(dataset.class_names)
    expected = (*reference, *(str(index) for index in range(len(reference), len(names))))
    return [index for index, name in enumerate(names) if name != expected[index]]


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
        raise DataError(f"class {name!r} must be one of {list(names)}, the model's. Rename it or choose another set.")
    clean = dataset.clean_labels
    if clean is not None:
        clean = np.where(clean == UNKNOWN, UNKNOWN, table[clean])
    return replace(dataset, labels=labels, clean_labels=clean, class_names=names)
